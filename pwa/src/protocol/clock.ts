/**
 * Hybrid logical clocks (rules C1-C6): ms since 1970 (6 bytes), counter (2), device id (8), big-endian.
 * Source of the construction: Kulkarni et al., "Logical Physical Clocks" (2014).
 */
import { compareBytes, readUint, writeUint } from './bytes'
import { limits } from './generated'

export const ZERO_CLOCK = new Uint8Array(limits.CLOCK_BYTES)

/** Returns the 16-byte clock; throws RangeError when a part does not fit. */
export function pack(milliseconds: number, counter: number, device: Uint8Array): Uint8Array {
  const fits = (value: number, greatest: number) => Number.isInteger(value) && value >= 0 && value <= greatest
  if (!fits(milliseconds, limits.MAX_CLOCK_MS) || !fits(counter, limits.MAX_CLOCK_COUNTER)) {
    throw new RangeError('clock out of range')
  }
  if (device.length !== limits.DEVICE_ID_BYTES) throw new RangeError('a device id has 8 bytes')
  const clock = new Uint8Array(limits.CLOCK_BYTES)
  writeUint(clock, 0, 6, milliseconds)
  writeUint(clock, 6, 2, counter)
  clock.set(device, 8)
  return clock
}

export function millisecondsOf(clock: Uint8Array): number {
  return readUint(clock, 0, 6)
}

export function counterOf(clock: Uint8Array): number {
  return readUint(clock, 6, 2)
}

export function deviceOf(clock: Uint8Array): Uint8Array {
  return clock.slice(8)
}

/**
 * Returns a clock greater than `last`, at `nowMs` or later, made by `device`. `last` is the greatest clock
 * this device has made or seen; when its counter is spent, the next millisecond is taken (C3).
 */
export function tick(last: Uint8Array, nowMs: number, device: Uint8Array): Uint8Array {
  const now = Math.max(0, Math.min(nowMs, limits.MAX_CLOCK_MS))
  const lastMs = millisecondsOf(last)
  if (now > lastMs) return pack(now, 0, device)
  if (counterOf(last) < limits.MAX_CLOCK_COUNTER) return pack(lastMs, counterOf(last) + 1, device)
  return pack(lastMs + 1, 0, device)
}

/**
 * Returns the greater of `last` and `seen`, ignoring a `seen` too far ahead of `nowMs` (C5): one device with
 * a broken calendar must not drag every other clock into the future.
 */
export function observe(last: Uint8Array, seen: Uint8Array, nowMs: number, maxAheadMs: number): Uint8Array {
  if (millisecondsOf(seen) > nowMs + maxAheadMs) return last
  return later(last, seen)
}

/** Returns the greater of two clocks. */
export function later(left: Uint8Array, right: Uint8Array): Uint8Array {
  return compareBytes(right, left) > 0 ? right : left
}
