/**
 * Frozen tabs. A browser stops the tabs that nobody looks at, and lets them go on without a word; what other tabs told
 * them meanwhile may be lost (Chromium drops what comes while a callback is held).
 */

/** This tab looks at the clock this often, ms. */
const LOOK_EVERY_MS = 1_000
/** A tab that has not looked for this long was frozen, or the PC slept, ms. */
export const FROZEN_AFTER_MS = 3_000

const listeners = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined
let lastLook = 0

/** Calls `onThaw` whenever this tab may have missed something, until the function returned is called. */
export function watchThaws(onThaw: () => void): () => void {
  listeners.add(onThaw)
  if (timer === undefined) {
    lastLook = Date.now()
    timer = setInterval(look, LOOK_EVERY_MS)
  }
  return () => {
    listeners.delete(onThaw)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

function look(): void {
  const now = Date.now()
  const wasFrozen = now - lastLook > FROZEN_AFTER_MS
  lastLook = now
  if (wasFrozen) for (const onThaw of [...listeners]) onThaw()
}
