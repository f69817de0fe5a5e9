/** Merging changes into cells: a last-writer-wins map by clock (rules L6, L7). */
import { compareBytes } from './bytes'
import { canonicalBytes } from './canonical'
import { cellKey, type StoredChange } from './change'

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

/** Applies `changes` to `cells` in place and returns those that won, in order. */
export function merge(cells: Map<string, StoredChange>, changes: Iterable<StoredChange>): StoredChange[] {
  const winners: StoredChange[] = []
  for (const change of changes) {
    const key = cellKey(change)
    if (!wins(change, cells.get(key))) continue
    cells.set(key, change)
    winners.push(change)
  }
  return winners
}
