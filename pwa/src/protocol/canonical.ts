/** Canonical bytes of a change and the hash chain over a device's log (rules L4, L5). */
import { sha256 } from '@noble/hashes/sha2.js'
import { writeUint } from './bytes'
import type { StoredChange } from './change'
import { limits } from './generated'

export const FIRST_HASH = new Uint8Array(limits.HASH_BYTES)

const HEAD_BYTES = 8 + 16 + 2 + 16 + 2 + 16 + 4 + 4

/** Returns `dseq u64 | clk 16 | etype u16 | eid 16 | field u16 | scope 16 | kid u32 | length u32 | value`. */
export function canonicalBytes(dseq: number, change: StoredChange): Uint8Array {
  const [clk, etype, eid, field, scope, kid, value] = change
  const bytes = new Uint8Array(HEAD_BYTES + value.length)
  writeUint(bytes, 0, 8, dseq)
  bytes.set(clk, 8)
  writeUint(bytes, 24, 2, etype)
  bytes.set(eid, 26)
  writeUint(bytes, 42, 2, field)
  bytes.set(scope, 44)
  writeUint(bytes, 60, 4, kid)
  writeUint(bytes, 64, 4, value.length)
  bytes.set(value, HEAD_BYTES)
  return bytes
}

/**
 * Returns SHA-256(previous | canonical bytes): the chain's value at `dseq`. Synchronous, because `crypto.subtle`
 * is missing on plain http origins and an IndexedDB transaction does not outlive a foreign await.
 */
export function nextHash(previous: Uint8Array, dseq: number, change: StoredChange): Uint8Array {
  return sha256.create().update(previous).update(canonicalBytes(dseq, change)).digest()
}

/** Returns the chain's value after each change of a batch, in order. */
export function foldHashes(previous: Uint8Array, firstDseq: number, changes: readonly StoredChange[]): Uint8Array[] {
  let last = previous
  return changes.map((change, index) => (last = nextHash(last, firstDseq + index, change)))
}
