import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Backoff, Bell, sleep } from '../../src/sync/wait'

describe('Backoff', () => {
  it('doubles up to its greatest delay, and never waits less than half of it', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 80 }), (drawn, failures) => {
        const backoff = new Backoff(1_000, 15_000, () => drawn)
        let delay = 0
        for (let failure = 0; failure < failures; failure += 1) delay = backoff.next()
        const full = Math.min(15_000, 1_000 * 2 ** (failures - 1))
        expect(delay).toBeGreaterThanOrEqual(Math.floor(full / 2))
        expect(delay).toBeLessThanOrEqual(full)
      }),
    )
  })

  it('begins anew after success', () => {
    const backoff = new Backoff(1_000, 15_000, () => 1)
    backoff.next()
    backoff.next()
    backoff.reset()
    expect(backoff.next()).toBe(1_000)
  })
})

describe('Bell', () => {
  const never = new AbortController().signal

  it('keeps a ring for the next sleeper', async () => {
    const bell = new Bell()
    bell.ring()
    expect(await bell.wait(60_000, never)).toBe(true)
  })

  it('wakes a sleeper', async () => {
    const bell = new Bell()
    const waiting = bell.wait(60_000, never)
    bell.ring()
    expect(await waiting).toBe(true)
  })

  it('says when nobody rang', async () => {
    const bell = new Bell()
    expect(await bell.wait(1, never)).toBe(false)
    expect(await bell.wait(60_000, AbortSignal.abort())).toBe(false)
  })
})

it('sleep ends with its signal', async () => {
  const controller = new AbortController()
  const sleeping = sleep(60_000, controller.signal)
  controller.abort()
  await expect(sleeping).resolves.toBeUndefined()
})
