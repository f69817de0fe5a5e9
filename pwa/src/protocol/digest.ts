/** One number for all that a replica holds, so that a silent gap shows (rule L20). */
import { sha256 } from '@noble/hashes/sha2.js'
import { writeUint } from './bytes'
import type { StoredChange } from './change'
import { ConversationField, EntityType, limits } from './generated'

const ENTRY_BYTES = 16 + 2 + 16 + 2

/** Returns how many cells count, and the XOR of their hashes: the same in any order. Tombstones do not count (L19). */
export function digest(cells: Iterable<StoredChange>): { count: number; digest: Uint8Array } {
  const folded = new Uint8Array(limits.HASH_BYTES)
  const entry = new Uint8Array(ENTRY_BYTES)
  let count = 0
  for (const [clk, etype, eid, field] of cells) {
    if (etype === EntityType.CONVERSATION && field === ConversationField.PURGED) continue
    entry.set(clk)
    writeUint(entry, 16, 2, etype)
    entry.set(eid, 18)
    writeUint(entry, 34, 2, field)
    sha256(entry).forEach((byte, index) => (folded[index] = (folded[index] ?? 0) ^ byte))
    count += 1
  }
  return { count, digest: folded }
}
