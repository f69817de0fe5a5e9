/** One number for all that a replica holds, so that a silent gap shows (rule L20). */
import { sha256 } from '@noble/hashes/sha2.js'
import { writeUint } from './bytes'
import type { StoredChange } from './change'
import { ConversationField, EntityType, limits } from './generated'

const ENTRY_BYTES = 16 + 2 + 16 + 2

/** Folds cells in any order: how many count, and the XOR of their hashes. Tombstones do not count (L19). */
export class Digester {
  count = 0
  readonly digest = new Uint8Array(limits.HASH_BYTES)
  private readonly entry = new Uint8Array(ENTRY_BYTES)

  add(cells: Iterable<StoredChange>): this {
    for (const [clk, etype, eid, field] of cells) {
      if (etype === EntityType.CONVERSATION && field === ConversationField.PURGED) continue
      this.entry.set(clk)
      writeUint(this.entry, 16, 2, etype)
      this.entry.set(eid, 18)
      writeUint(this.entry, 34, 2, field)
      for (const [index, byte] of sha256(this.entry).entries()) this.digest[index] = (this.digest[index] ?? 0) ^ byte
      this.count += 1
    }
    return this
  }
}
