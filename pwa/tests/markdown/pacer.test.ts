import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Pacer } from '@/markdown/pacer'

describe('drawing a growing text', () => {
  let clock = 0
  beforeEach(() => {
    clock = 0
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  const pass = (milliseconds: number) => {
    clock += milliseconds
    vi.advanceTimersByTime(milliseconds)
  }

  it('is done at once, then no more often than each 33 ms', () => {
    const draw = vi.fn()
    const pacer = new Pacer(draw, () => clock)
    pacer.request()
    pacer.request()
    pacer.request()
    expect(draw).toHaveBeenCalledTimes(1)
    pass(33)
    expect(draw).toHaveBeenCalledTimes(2)
  })

  it('takes at most a fifth of the time', () => {
    const draw = vi.fn(() => {
      clock += 20
    })
    const pacer = new Pacer(draw, () => clock)
    pacer.request()
    pacer.request()
    pass(99)
    expect(draw).toHaveBeenCalledTimes(1)
    pass(1)
    expect(draw).toHaveBeenCalledTimes(2)
  })

  it('ends with stop', () => {
    const draw = vi.fn()
    const pacer = new Pacer(draw, () => clock)
    pacer.flush()
    pacer.request()
    pacer.stop()
    pass(1000)
    expect(draw).toHaveBeenCalledTimes(1)
  })
})
