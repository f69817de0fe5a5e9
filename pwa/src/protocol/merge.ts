/** Merging changes into cells: a last-writer-wins map by clock (rules L6, L7, L18). */
import { compareBytes, equalBytes, toHex } from './bytes'
import { canonicalBytes } from './canonical'
import { cellKey, type StoredChange } from './change'
import { ConversationField, EntityType } from './generated'

/**
 * Says whether `challenger` replaces `holder` in their cell. The greater clock wins; equal clocks with
 * different bytes come from a cloned device and take the greater canonical bytes, so that every replica agrees.
 */
export function wins(challenger: StoredChange, holder: StoredChange | undefined): boolean {
  if (holder === undefined) return true
  const order = compareBytes(challenger[0], holder[0])
  if (order !== 0) return order > 0
  return compareBytes(canonicalBytes(0, challenger), canonicalBytes(0, holder)) > 0
}

/** Says whether two changes to one cell share a clock but not their bytes: an alarm (L7). */
export function isClone(challenger: StoredChange, holder: StoredChange): boolean {
  if (compareBytes(challenger[0], holder[0]) !== 0) return false
  return compareBytes(canonicalBytes(0, challenger), canonicalBytes(0, holder)) !== 0
}

/** Says whether the change ends its conversation for ever, whatever its value (rule L18). */
export function isPurge(change: StoredChange): boolean {
  const [, etype, eid, field, scope] = change
  return etype === EntityType.CONVERSATION && field === ConversationField.PURGED && equalBytes(eid, scope)
}

/** The key of the cell whose being there says that the conversation is purged. */
export function tombstoneKey(scope: Uint8Array): string {
  return `${String(EntityType.CONVERSATION)}:${toHex(scope)}:${String(ConversationField.PURGED)}`
}

/**
 * Applies `changes` to `cells` in place and returns those that won, in order. A purge takes the other cells of its
 * conversation out, and what is written to it later is dropped (L18).
 */
export function merge(cells: Map<string, StoredChange>, changes: Iterable<StoredChange>): StoredChange[] {
  const winners: StoredChange[] = []
  for (const change of changes) {
    const key = cellKey(change)
    if (!isPurge(change) && cells.has(tombstoneKey(change[4]))) continue
    if (!wins(change, cells.get(key))) continue
    if (isPurge(change)) {
      for (const [gone, cell] of cells) if (equalBytes(cell[4], change[4])) cells.delete(gone)
    }
    cells.set(key, change)
    winners.push(change)
  }
  return winners
}
