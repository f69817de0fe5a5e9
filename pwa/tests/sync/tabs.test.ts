import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { SharedState, Tabs } from '../../src/sync/tabs'
import { eventually } from './house'

/** Locks as browsers have them: one holder at a time, in order. */
class FakeLocks {
  private last: Promise<unknown> = Promise.resolve()

  request(_name: string, ...rest: unknown[]): Promise<unknown> {
    const work = rest.at(-1) as () => Promise<unknown>
    const { signal } = (rest.length > 1 ? rest[0] : {}) as { signal?: AbortSignal }
    const turn = this.last.then(() => {
      signal?.throwIfAborted()
      return work()
    })
    this.last = turn.catch(() => undefined)
    return turn
  }
}

function locks(): LockManager {
  return new FakeLocks() as unknown as LockManager
}

describe('Tabs', () => {
  it('one tab leads; the next one follows when it ends', async () => {
    const tabs = new Tabs(locks())
    const first = new AbortController()
    const leaders: string[] = []
    const lead = (name: string, signal: AbortSignal) =>
      tabs.lead('link', signal, async () => {
        leaders.push(name)
        await new Promise((resolve) => {
          signal.addEventListener('abort', resolve)
        })
      })
    const second = new AbortController()
    const leading = [lead('first', first.signal), lead('second', second.signal)]
    await eventually(() => {
      expect(leaders).toEqual(['first'])
    })
    first.abort()
    await eventually(() => {
      expect(leaders).toEqual(['first', 'second'])
    })
    second.abort()
    await Promise.all(leading)
  })

  it('a tab that closes while it waits never leads', async () => {
    const tabs = new Tabs(locks())
    const work = vi.fn()
    await tabs.lead('link', AbortSignal.abort(), work)
    expect(work).not.toHaveBeenCalled()
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
