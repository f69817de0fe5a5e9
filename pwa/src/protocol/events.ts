/** Ids of a run's events (rule S1). */

/** Returns the SSE id of the `number`-th event, from 1. */
export function eventId(answer: string, number: number): string {
  return `${answer}:${String(number)}`
}

/** Returns the number in an event id, or null when it is not one of this answer's. */
export function parseEventId(text: string, answer: string): number | null {
  const colon = text.lastIndexOf(':')
  const number = text.slice(colon + 1)
  if (colon < 0 || text.slice(0, colon) !== answer || !/^[0-9]+$/.test(number)) return null
  return Number(number)
}
