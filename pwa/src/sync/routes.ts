/** Scores of routes from measurements of their round trips. Pure: time and results come from outside. */
import type { RouteKind } from './router'

/** Weight of the newest round trip in the moving averages. */
const NEWEST_WEIGHT = 0.3
const OUTCOMES_KEPT = 10
const FAILURE_COST_MS = 1500
const RELAY_BIAS_MS = 40
/** A route that failed this often in a row is not used. */
const DEAD_AFTER = 2

export interface Measurement {
  /** Moving average of the round trip, ms; null before the first. */
  roundTripMs: number | null
  jitterMs: number
  /** The last outcomes, newest last. */
  outcomes: readonly boolean[]
}

export const UNMEASURED: Measurement = { roundTripMs: null, jitterMs: 0, outcomes: [] }

/** What a route lost while it was dead, or before it first answered, says that it was not there, not how good it is. */
export function succeeded(before: Measurement, roundTripMs: number): Measurement {
  const last = before.roundTripMs ?? roundTripMs
  const outcomes = isAlive(before) ? before.outcomes : []
  return {
    roundTripMs: mix(last, roundTripMs),
    jitterMs: mix(before.jitterMs, Math.abs(roundTripMs - last)),
    outcomes: [...outcomes, true].slice(-OUTCOMES_KEPT),
  }
}

export function failed(before: Measurement): Measurement {
  return { ...before, outcomes: [...before.outcomes, false].slice(-OUTCOMES_KEPT) }
}

/** Says whether the route answers: it has, and did not fail twice since. */
export function isAlive(measurement: Measurement): boolean {
  const recent = measurement.outcomes.slice(-DEAD_AFTER)
  return measurement.roundTripMs !== null && recent.some((outcome) => outcome)
}

/** Returns the cost of a route in ms; the least is chosen. */
export function score(kind: RouteKind, measurement: Measurement): number {
  const { roundTripMs, jitterMs, outcomes } = measurement
  const failures = outcomes.filter((outcome) => !outcome).length / Math.max(1, outcomes.length)
  const bias = kind === 'relay' ? RELAY_BIAS_MS : 0
  return (roundTripMs ?? Number.POSITIVE_INFINITY) + 2 * jitterMs + FAILURE_COST_MS * failures + bias
}

function mix(before: number, newest: number): number {
  return before + NEWEST_WEIGHT * (newest - before)
}
