/** Leaves an address alone for a while after it failed: longer each time, until something says that it may be back. */

/** How long it is left alone after the first time, the second, and each later one, ms (rule D7). */
const RESTS_MS = [30_000, 120_000, 600_000] as const

export interface Breaker {
  /** How often in a row it was opened. */
  trips: number
  /** The address is left alone until then, ms. */
  until: number
}

export const CLOSED: Breaker = { trips: 0, until: 0 }

/** The address is dead: it is left alone for the next of the rests. */
export function tripped({ trips }: Breaker, now: number): Breaker {
  return { trips: trips + 1, until: now + (RESTS_MS[trips] ?? RESTS_MS[2]) }
}

export function isResting({ until }: Breaker, now: number): boolean {
  return now < until
}
