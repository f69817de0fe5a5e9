import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { failed, isAlive, score, succeeded, UNMEASURED, type Measurement } from '../../src/sync/routes'

function measured(...outcomes: (number | null)[]): Measurement {
  return outcomes.reduce<Measurement>(
    (before, outcome) => (outcome === null ? failed(before) : succeeded(before, outcome)),
    UNMEASURED,
  )
}

describe('life of a route', () => {
  it.each([
    ['never measured', [], false],
    ['answered', [10], true],
    ['failed once since', [10, null], true],
    ['failed twice since', [10, null, null], false],
    ['only ever failed', [null], false],
    ['came back', [10, null, null, 12], true],
  ])('%s', (_name, outcomes, expected) => {
    expect(isAlive(measured(...outcomes))).toBe(expected)
  })
})

describe('score', () => {
  it('prefers Direct unless Relay is faster by more than its bias', () => {
    expect(score('direct', measured(30))).toBeLessThan(score('relay', measured(10)))
    expect(score('direct', measured(90))).toBeGreaterThan(score('relay', measured(10)))
  })

  it('counts failures and jitter against a route', () => {
    expect(score('direct', measured(10, null, 10))).toBeGreaterThan(score('direct', measured(10, 10)))
    expect(score('direct', measured(10, 60, 10, 60))).toBeGreaterThan(score('direct', measured(35, 35, 35, 35)))
  })

  it('forgets how often nobody was there once somebody is', () => {
    expect(score('direct', measured(null, null, 10))).toBe(score('direct', measured(10)))
    expect(score('direct', measured(10, null, null, 10))).toBe(score('direct', measured(10, 10)))
  })

  it('is never less than nothing, whatever was measured', () => {
    const anyOutcome = fc.option(fc.double({ min: 0, max: 10_000, noNaN: true }))
    fc.assert(
      fc.property(fc.array(anyOutcome), (outcomes) => {
        const measurement = measured(...outcomes)
        expect(score('direct', measurement)).toBeGreaterThanOrEqual(0)
        expect(measurement.outcomes.length).toBeLessThanOrEqual(10)
      }),
    )
  })
})
