import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { BEAT_MS, SharedState, Tabs } from '../../src/sync/tabs'
import { Browser, freezeTimers, locks } from './fakeTabs'
import { eventually } from './house'

describe('Tabs', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    freezeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('one tab leads; the next one follows when it ends', async () => {
    const browser = new Browser()
    const all = [browser.open('first'), browser.open('second')]
    await vi.advanceTimersByTimeAsync(0)
    expect(browser.leading).toEqual(['first'])
    browser.close('first')
    await vi.advanceTimersByTimeAsync(0)
    expect(browser.leading).toEqual(['first', 'second'])
    browser.close('second')
    await Promise.all(all)
    expect(browser.stepped).toEqual(['first', 'second'])
  })

  it('a leader that is heard keeps leading for hours', async () => {
    const browser = new Browser()
    const all = ['first', 'second', 'third'].map((name) => browser.open(name))
    await vi.advanceTimersByTimeAsync(3 * 3_600_000)
    expect(browser.leading).toEqual(['first'])
    for (const name of ['first', 'second', 'third']) browser.close(name)
    await Promise.all(all)
  })

  it('a frozen leader costs fifteen seconds at most, and waits in line when it thaws', async () => {
    const browser = new Browser()
    const all = ['first', 'second', 'third'].map((name) => browser.open(name))
    await vi.advanceTimersByTimeAsync(60_000)
    browser.freeze('first')
    await vi.advanceTimersByTimeAsync(15_000)
    expect(browser.leading).toHaveLength(2)
    expect(browser.stepped).toEqual(['first'])
    browser.freeze('first', false)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(browser.leading).toHaveLength(2)
    const next = browser.leading[1] ?? ''
    browser.close(next)
    await vi.advanceTimersByTimeAsync(0)
    expect(browser.leading).toHaveLength(3)
    for (const name of ['first', 'second', 'third']) browser.close(name)
    await Promise.all(all)
  })

  it('a tab that was slowed down itself takes nothing from anybody', async () => {
    const browser = new Browser()
    const all = [browser.open('first'), browser.open('second')]
    await vi.advanceTimersByTimeAsync(0)
    browser.freeze('first')
    for (let minute = 0; minute < 5; minute += 1) {
      // The clock goes on, and no timer comes: then one does.
      vi.setSystemTime(Date.now() + 60_000)
      await vi.advanceTimersByTimeAsync(BEAT_MS / 3)
    }
    expect(browser.leading).toEqual(['first'])
    for (const name of ['first', 'second']) browser.close(name)
    await Promise.all(all)
  })

  it('L15: whatever tabs do, one that is awake leads within fifteen seconds, and no two go on leading', async () => {
    const tab = fc.integer({ min: 0, max: 3 }).map(String)
    const step = fc.record({
      what: fc.constantFrom('open', 'close', 'freeze', 'thaw'),
      tab,
      wait: fc.oneof(fc.nat(2_000), fc.nat(40_000)),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const browser = new Browser()
        const open = new Map<string, Promise<void>>()
        const end = async (name: string) => {
          browser.freeze(name, false)
          browser.close(name)
          await vi.advanceTimersByTimeAsync(0)
          await open.get(name)
          open.delete(name)
        }
        for (const { what, tab: name, wait } of steps) {
          if (what === 'open' && !open.has(name)) open.set(name, browser.open(name))
          else if (what === 'close') await end(name)
          else browser.freeze(name, what === 'freeze')
          await vi.advanceTimersByTimeAsync(wait)
          if (wait < 15_000) continue
          const awake = browser.awake.filter((one) => browser.leaders.has(one))
          expect(awake).toHaveLength(browser.awake.length === 0 ? 0 : 1)
        }
        for (const name of [...open.keys()]) await end(name)
        expect(browser.leaders.size).toBe(0)
      }),
    )
  })

  it('a tab that closes while it waits never leads', async () => {
    const tabs = new Tabs(locks())
    const work = vi.fn()
    await tabs.lead('link', AbortSignal.abort(), work)
    expect(work).not.toHaveBeenCalled()
  })

  it('what fails is told, and no other tab is held up by it', async () => {
    const manager = locks()
    const tabs = new Tabs(manager)
    const broken = tabs.lead('link', new AbortController().signal, () => Promise.reject(new Error('broken')))
    await expect(broken).rejects.toThrow('broken')
    expect(await new Tabs(manager).exclusively('link', () => Promise.resolve(1))).toBe(1)
  })

  it('what is done exclusively waits, but not for a frozen tab', async () => {
    vi.useRealTimers()
    const tabs = new Tabs(locks())
    const timeout = vi
      .spyOn(AbortSignal, 'timeout')
      .mockReturnValue(AbortSignal.abort(new DOMException('', 'TimeoutError')))
    onTestFinished(() => {
      timeout.mockRestore()
    })
    expect(await tabs.exclusively('refresh', () => Promise.resolve(7))).toBe(7)
    timeout.mockRestore()
    let thaw: (value: number) => void = () => undefined
    const frozen = tabs.exclusively('refresh', () => new Promise<number>((resolve) => (thaw = resolve)))
    const late = new AbortController()
    vi.spyOn(AbortSignal, 'timeout').mockReturnValue(late.signal)
    const other = tabs.exclusively('refresh', () => Promise.resolve(8))
    late.abort(new DOMException('', 'TimeoutError'))
    expect(await other).toBe(8)
    thaw(9)
    expect(await frozen).toBe(9)
  })

  it('without Web Locks every tab does the work', async () => {
    const tabs = new Tabs(undefined)
    expect(await tabs.exclusively('refresh', () => Promise.resolve(7))).toBe(7)
  })
})

describe('SharedState', () => {
  function tab(name: string) {
    const wake = vi.fn()
    const shared = new SharedState<{ connection: string }>(name, { connection: 'connecting' }, wake)
    onTestFinished(() => {
      shared.close()
    })
    return { shared, wake }
  }

  it('tells every tab what the leader knows, those that open later too', async () => {
    const leader = tab('told')
    const early = tab('told')
    leader.shared.lead()
    leader.shared.update({ connection: 'up' })
    const late = tab('told')
    await eventually(() => {
      expect([early.shared.state, late.shared.state]).toEqual([{ connection: 'up' }, { connection: 'up' }])
    })
  })

  it('asks anew for what was told while it was frozen', async () => {
    const leader = tab('missed')
    const other = tab('missed')
    leader.shared.lead()
    Object.assign(leader.shared.state, { connection: 'up' })
    other.shared.askAgain()
    await eventually(() => {
      expect(other.shared.state).toEqual({ connection: 'up' })
    })
  })

  it('lets any tab wake the leader', async () => {
    const leader = tab('woken')
    const other = tab('woken')
    leader.shared.lead()
    other.shared.wake()
    await eventually(() => {
      expect(leader.wake).toHaveBeenCalledOnce()
    })
    expect(other.wake).not.toHaveBeenCalled()
  })
})
