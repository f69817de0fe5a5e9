import { expect, it } from 'vitest'
import { CLOSED, isResting, tripped } from '../../src/sync/breaker'

it('D7: an address that fails rests for 30 s, then 2 min, then 10 min each time', () => {
  let breaker = CLOSED
  let now = 1_000
  for (const restMs of [30_000, 120_000, 600_000, 600_000]) {
    expect(isResting(breaker, now)).toBe(false)
    breaker = tripped(breaker, now)
    expect(isResting(breaker, now + restMs - 1)).toBe(true)
    now += restMs
  }
  expect(isResting(breaker, now)).toBe(false)
})
