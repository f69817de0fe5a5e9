/** The change record as it travels: a tuple, so that a change costs few bytes beyond its value (L2). */
import type { Change, PulledChange } from './generated'
import { toHex } from './bytes'

/** A change as it is kept: with the account's sequence number once the server has given it one. */
export type StoredChange = Change | PulledChange

/** Places in the tuple, for code that needs one member alone. */
export const ChangePart = { CLOCK: 0, ETYPE: 1, EID: 2, FIELD: 3, SCOPE: 4, KID: 5, VALUE: 6, SEQ: 7 } as const

/** The cell that a change writes, as text: entity type, entity id, field. */
export function cellKey(change: StoredChange): string {
  const [, etype, eid, field] = change
  return `${String(etype)}:${toHex(eid)}:${String(field)}`
}
