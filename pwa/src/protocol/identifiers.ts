/** Identifiers: bytes inside the protocol, lower-case hex in JSON, tokens, addresses and IndexedDB. */
import { fromHex, writeUint } from './bytes'
import { limits } from './generated'

/** Returns a UUIDv7 (RFC 9562, section 5.7): 48 bits of `nowMs`, then the 10 bytes of `randomness`. */
export function uuid7(nowMs: number, randomness: Uint8Array): Uint8Array {
  if (randomness.length !== 10) throw new RangeError('a UUIDv7 takes 10 random bytes')
  const bytes = new Uint8Array(limits.ENTITY_ID_BYTES)
  writeUint(bytes, 0, 6, nowMs)
  bytes.set(randomness, 6)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return bytes
}

/** Decodes exactly `size` bytes of lower-case hex; throws RangeError for anything else. */
export function idFromHex(text: string, size: number = limits.ENTITY_ID_BYTES): Uint8Array {
  if (text.length !== 2 * size) throw new RangeError(`expected ${String(2 * size)} hex digits`)
  return fromHex(text)
}
