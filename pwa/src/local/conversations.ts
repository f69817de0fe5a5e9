/**
 * A conversation folded from its cells. What was folded is kept in memory with its revision, and each read brings
 * from IndexedDB only what was written since, in whichever tab: a change costs what changed, not the conversation.
 */
import { toHex } from '../protocol/bytes'
import { deviceOf, millisecondsOf } from '../protocol/clock'
import { ConversationField, EntityType } from '../protocol/generated'
import { foldMessage, type Fields, type Message } from '../protocol/messages'
import { readFlag, readId, readText } from '../protocol/values'
import type { AccountDatabase } from './database'
import { writtenSince, type Entity, type Written } from './entities'
import { readOutline } from './outlines'
import { whenCommitted } from './transactions'

/** The fields of a conversation itself. */
export interface Conversation {
  title: string
  activeLeaf: string | null
  /** The device that chose the active leaf. */
  activeLeafDevice: string | null
  /** When it was chosen, ms since 1970; 0 if never. Each question and answer chooses one. */
  chosenAt: number
  pinned: boolean
  deleted: boolean
  /** It is over for good, and nothing of it is kept (L18). */
  purged: boolean
}

/** A conversation as of one revision of its scope. Never changed: the next one is made from it. */
export interface Snapshot {
  readonly revision: number
  readonly conversation: Conversation
  /** A message that did not change is the same object in the next snapshot. */
  readonly messages: ReadonlyMap<string, Message>
  /** How many entities were written since its outline. */
  readonly unsaved: number
}

/** Kept whatever their length: the conversations on the screen, and a few that answers or news come for. */
const LEAST_KEPT = 8
/** Many are written in turn by an import and by a device that comes back: each would be read again for every page. */
const MOST_KEPT = 128
/** About 15 MB, at a few sentences each. */
const MOST_MESSAGES_KEPT = 20_000
const NOTHING: Snapshot = { revision: 0, conversation: foldConversation({}), messages: new Map(), unsaved: 0 }

/** The snapshots that one tab keeps, the last used ones. */
export class Snapshots {
  private readonly byScope = new Map<string, Snapshot>()
  private messages = 0

  get(scope: string): Snapshot {
    return this.byScope.get(scope) ?? NOTHING
  }

  /** Keeps a snapshot of committed rows. */
  keep(scope: string, snapshot: Snapshot): void {
    if (snapshot.revision < this.get(scope).revision) return
    this.drop(scope)
    this.byScope.set(scope, snapshot)
    this.messages += snapshot.messages.size
    for (const oldest of this.byScope.keys()) {
      const { size } = this.byScope
      if (size <= LEAST_KEPT || (size <= MOST_KEPT && this.messages <= MOST_MESSAGES_KEPT)) return
      this.drop(oldest)
    }
  }

  private drop(scope: string): void {
    this.messages -= this.get(scope).messages.size
    this.byScope.delete(scope)
  }

  /** The outline of a conversation is now as this snapshot. */
  saved(scope: string, { revision, unsaved }: Snapshot): void {
    const kept = this.byScope.get(scope)
    if (kept === undefined || kept.revision < revision) return
    this.byScope.set(scope, { ...kept, unsaved: Math.max(0, kept.unsaved - unsaved) })
  }
}

/** Reads a conversation and its messages by scope. Runs inside a transaction. */
export async function loadConversation(db: AccountDatabase, id: string): Promise<Snapshot> {
  const kept = db.snapshots.get(id)
  const known = kept === NOTHING ? ((await readOutline(db, id)) ?? NOTHING) : kept
  const { rows, packed } = await writtenSince(db, id, known.revision)
  return keepWhenCommitted(db, id, advance(known, id, rows, packed))
}

/** Returns the snapshot with these entities as they are now. */
export function advance(
  known: Snapshot,
  id: string,
  entities: readonly Entity[],
  packed: Written['packed'] = [],
): Snapshot {
  if (entities.length + packed.length === 0) return known
  let { revision, conversation } = known
  const messages = new Map(known.messages)
  for (const { etype, eid, fields, revision: written } of entities) {
    revision = Math.max(revision, written)
    if (etype === EntityType.CONVERSATION && eid === id) conversation = foldConversation(fields)
    if (etype !== EntityType.MESSAGE) continue
    const message = foldMessage(eid, fields)
    if (message !== null) messages.set(eid, message)
    else messages.delete(eid)
  }
  for (const { etype, eid, message, revision: written } of packed) {
    revision = Math.max(revision, written)
    if (message !== null) messages.set(eid, message)
    else if (etype === EntityType.MESSAGE) messages.delete(eid)
  }
  if (conversation.purged) messages.clear()
  return { revision, conversation, messages, unsaved: known.unsaved + entities.length + packed.length }
}

/** A transaction that writes may still break, and its revision would then be given again to something else. */
export function keepWhenCommitted(db: AccountDatabase, id: string, snapshot: Snapshot): Snapshot {
  whenCommitted(() => {
    db.snapshots.keep(id, snapshot)
    db.outlines.note(id, snapshot)
  })
  return snapshot
}

/** Returns a conversation's own fields from its cells. */
export function foldConversation(fields: Fields): Conversation {
  const read = <Value>(field: number, reader: (data: Uint8Array) => Value | null): Value | null => {
    const cell = fields[field]
    return cell === undefined ? null : reader(cell[6])
  }
  const leaf = read(ConversationField.ACTIVE_LEAF, readId)
  const leafCell = fields[ConversationField.ACTIVE_LEAF]
  return {
    title: read(ConversationField.TITLE, readText)?.trim() ?? '',
    activeLeaf: leaf === null ? null : toHex(leaf),
    activeLeafDevice: leafCell === undefined ? null : toHex(deviceOf(leafCell[0])),
    chosenAt: leafCell === undefined ? 0 : millisecondsOf(leafCell[0]),
    pinned: read(ConversationField.PINNED, readFlag) ?? false,
    deleted: read(ConversationField.DELETED, readFlag) ?? false,
    purged: fields[ConversationField.PURGED] !== undefined,
  }
}
