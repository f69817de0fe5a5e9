/**
 * Long conversations in one piece. Ten thousand rows take a second to read and fold on a phone, the same messages as
 * a few columns of one row a tenth of it. An outline is written at leisure and may be old: what was written since its
 * revision is read beside it, so nothing waits for it and nothing is lost with it.
 */
import Dexie from 'dexie'
import { Decoder, Encoder } from '@msgpack/msgpack'
import { limits, type Request, type State } from '../protocol/generated'
import type { Message } from '../protocol/messages'
import type { Role } from '../protocol/values'
import type { Conversation, Snapshot } from './conversations'
import type { AccountDatabase } from './database'

/** Raised when the columns or the meaning of a message change: older outlines are then passed over. */
const OUTLINE_VERSION = 1
/** A conversation with fewer messages is read quickly enough. */
const LEAST_MESSAGES = 1_000
/** An outline that lacks this many written messages is written anew. */
const MOST_UNSAVED = 500
/** Pulled pages follow each other; the last of them is followed by quiet. */
const QUIET_MS = 1_000

const ROLES: readonly Role[] = ['system', 'user', 'assistant']
const STOP = 4
const DELETED = 8
const NO_PARENT = -1

const decoder = new Decoder()
const encoder = new Encoder({ ignoreUndefined: true })

interface Columns {
  version: number
  conversation: Conversation
  /** 32 hex digits each. */
  ids: string
  /** Where the parent stands; -1 for none. */
  parents: number[]
  /** Parents that are not among the messages yet, by place. */
  strangers: Record<number, string>
  clocks: Uint8Array
  /** Role and flags. */
  marks: Uint8Array
  /** All bodies joined, and how long each is in UTF-16 units. */
  text: string
  lengths: number[]
  requests: (Request | null)[]
  states: (State | null)[]
}

/** Returns the snapshot as bytes. */
export function packOutline({ conversation, messages }: Snapshot): Uint8Array {
  const all = [...messages.values()]
  const places = new Map(all.map(({ id }, place) => [id, place]))
  const clocks = new Uint8Array(all.length * limits.CLOCK_BYTES)
  for (const [place, { created }] of all.entries()) clocks.set(created, place * limits.CLOCK_BYTES)
  const strangers = all.flatMap(({ parent }, place) => (parent === null || places.has(parent) ? [] : [[place, parent]]))
  const columns: Columns = {
    version: OUTLINE_VERSION,
    conversation,
    ids: all.map(({ id }) => id).join(''),
    parents: all.map(({ parent }) => (parent === null ? NO_PARENT : (places.get(parent) ?? NO_PARENT))),
    strangers: Object.fromEntries(strangers) as Record<number, string>,
    clocks,
    marks: Uint8Array.from(
      all,
      ({ role, stop, deleted }) => ROLES.indexOf(role) | (stop ? STOP : 0) | (deleted ? DELETED : 0),
    ),
    text: all.map(({ body }) => body).join(''),
    lengths: all.map(({ body }) => body.length),
    requests: all.map(({ request }) => request),
    states: all.map(({ state }) => state),
  }
  return encoder.encode(columns)
}

/** Returns what `packOutline` was given, or null for an outline of another version. */
export function unpackOutline(scope: string, packed: Uint8Array): Pick<Snapshot, 'conversation' | 'messages'> | null {
  const columns = decoder.decode(packed) as Columns
  if (columns.version !== OUTLINE_VERSION) return null
  const { conversation, parents, strangers, clocks, marks, text, lengths, requests, states } = columns
  const idDigits = 2 * limits.ENTITY_ID_BYTES
  const ids = parents.map((_, place) => columns.ids.slice(place * idDigits, (place + 1) * idDigits))
  const messages = new Map<string, Message>()
  let start = 0
  for (const [place, id] of ids.entries()) {
    const mark = marks[place] ?? 0
    const end = start + (lengths[place] ?? 0)
    messages.set(id, {
      id,
      conversation: scope,
      created: clocks.subarray(place * limits.CLOCK_BYTES, (place + 1) * limits.CLOCK_BYTES),
      role: ROLES[mark & 3] ?? 'system',
      parent: ids[parents[place] ?? NO_PARENT] ?? strangers[place] ?? null,
      body: text.slice(start, end),
      request: requests[place] ?? null,
      state: states[place] ?? null,
      stop: (mark & STOP) !== 0,
      deleted: (mark & DELETED) !== 0,
    })
    start = end
  }
  return { conversation, messages }
}

/** Returns the conversation as of its outline, or null where there is none. Runs inside a transaction. */
export async function readOutline(db: AccountDatabase, scope: string): Promise<Snapshot | null> {
  const record = await db.outline.get(scope)
  if (record === undefined) return null
  const known = unpackOutline(scope, record.packed)
  return known === null ? null : { ...known, revision: record.revision, unsaved: 0 }
}

export async function writeOutline(db: AccountDatabase, scope: string, snapshot: Snapshot): Promise<void> {
  await db.outline.put({ scope, revision: snapshot.revision, packed: packOutline(snapshot) })
}

/** Writes outlines of conversations that have grown, when nothing has been written for a while. */
export class OutlineWriter {
  private readonly waiting = new Map<string, Snapshot>()
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(private readonly db: AccountDatabase) {}

  /** Takes a snapshot of committed rows. */
  note(scope: string, snapshot: Snapshot): void {
    if (snapshot.messages.size < LEAST_MESSAGES || snapshot.unsaved < MOST_UNSAVED) return
    this.waiting.set(scope, snapshot)
    clearTimeout(this.timer)
    this.timer = setTimeout(() => void this.write(), QUIET_MS)
  }

  private async write(): Promise<void> {
    for (const [scope, snapshot] of this.waiting) {
      this.waiting.delete(scope)
      try {
        await writeOutline(this.db, scope, snapshot)
      } catch (error) {
        // Closed below its last writer, or a full disk: it can be read row by row as before.
        if (!(error instanceof Dexie.DexieError)) throw error
        return
      }
      this.db.snapshots.saved(scope, snapshot)
    }
  }
}
