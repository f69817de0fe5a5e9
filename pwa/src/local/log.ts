/** Writing changes and storing those of others (rules L6, L7, L15). Each function is one transaction. */
import { fromHex, toHex } from '../protocol/bytes'
import { FIRST_HASH } from '../protocol/canonical'
import type { StoredChange } from '../protocol/change'
import { later, observe, tick, ZERO_CLOCK } from '../protocol/clock'
import { ProblemError } from '../protocol/errors'
import {
  ConversationField,
  EntityType,
  limits,
  type Change,
  type LogNews,
  type PulledChange,
  type Push,
  type Pushed,
} from '../protocol/generated'
import { isClone, isPurge, wins } from '../protocol/merge'
import type { AccountDatabase, DeviceIdentity, OwnLog, Reread, SyncState } from './database'
import { entitiesSince, loadEntities, placeOf, removeScopes, removeSegments, type Entity, type Place } from './entities'
import { packRows } from './outboxRows'
import { saveTouched } from './saving'
import { whenCommitted } from './transactions'

/** A change before it has a clock. */
export interface Draft extends Place {
  field: number
  value: Uint8Array
}

/** What a person writes at once; more than that may need more than one push. */
const FRESH_CHANGES = 64
const FRESH_BYTES = 256 * 1024

const FIRST_SYNC: SyncState = { epoch: null, cursor: 0, offsetMs: 0, inStepAt: null }

/** The log of a device that has written nothing yet. */
export const FIRST_LOG: OwnLog = {
  clock: ZERO_CLOCK,
  sharedClock: ZERO_CLOCK,
  nextDseq: 1,
  ackedDseq: 0,
  ackedHash: FIRST_HASH,
}

/** Returns which device this is. Throws ProblemError `token_missing` before the first login. */
export async function readDevice(db: AccountDatabase): Promise<DeviceIdentity> {
  const device = await db.getMeta('device')
  if (device === undefined) throw new ProblemError('token_missing')
  return device
}

export async function readOwnLog(db: AccountDatabase): Promise<OwnLog> {
  return (await db.getMeta('ownLog')) ?? FIRST_LOG
}

export async function readSync(db: AccountDatabase): Promise<SyncState> {
  return (await db.getMeta('sync')) ?? FIRST_SYNC
}

/** Returns the time in ms since 1970 with the offset learnt from the server (C4). */
export function serverTime(db: AccountDatabase, { offsetMs }: SyncState): number {
  return db.environment.now() + offsetMs
}

/**
 * Writes changes of this device: clocks, dseqs, cells and outbox rows together. The transaction is what keeps
 * two tabs from taking the same dseq. Throws ProblemError `token_missing` before the first login.
 */
export async function write(db: AccountDatabase, drafts: readonly Draft[]): Promise<void> {
  await db.logTransaction(async () => {
    const [[device, log = FIRST_LOG, sync = FIRST_SYNC], held] = await Promise.all([
      db.getMetas('device', 'ownLog', 'sync'),
      loadHeld(db, drafts),
    ])
    if (device === undefined) throw new ProblemError('token_missing')
    const [author, now] = [fromHex(device.id), serverTime(db, sync)]
    let { clock } = log
    const changes = drafts.map(({ etype, eid, field, scope, value }): Change => {
      clock = tick(clock, now, author)
      return [clock, etype, fromHex(eid), field, fromHex(scope), 0, value]
    })
    noteFresh(db, changes, { device, log, sync })
    await Promise.all([
      db.outbox.bulkAdd(packRows(changes.map((change, index) => ({ dseq: log.nextDseq + index, change })))),
      db.putMeta('ownLog', { ...log, clock, nextDseq: log.nextDseq + changes.length }),
      storeCells(db, changes, held),
    ])
  })
}

/** Keeps what is written in memory until it is pushed, where it is all that waits. */
function noteFresh(
  db: AccountDatabase,
  changes: readonly Change[],
  { device, log, sync }: { device: DeviceIdentity; log: OwnLog; sync: SyncState },
): void {
  db.fresh = null
  const bytes = changes.reduce((sum, change) => sum + change[6].length, 0)
  const isSmall = changes.length <= FRESH_CHANGES && bytes <= FRESH_BYTES
  const { ackedDseq, ackedHash, nextDseq } = log
  if (sync.epoch === null || device.isForked || nextDseq !== ackedDseq + 1 || !isSmall) return
  const push = { epoch: sync.epoch, first_dseq: nextDseq, prev_hash: ackedHash, changes: [...changes] }
  whenCommitted(() => {
    db.fresh = { push, deviceId: device.id, at: db.environment.now() }
  })
}

/** A page of the log, as pulled or as carried by news. */
export interface LogPage {
  epoch: number
  /** The cursor that this page follows. */
  since: number
  /** The cursor after it. */
  cursor: number
  changes: readonly PulledChange[]
}

/** Stores a page and moves the cursor. Another tab may have been faster: then the cursor stays where it is. */
export async function applyPage(db: AccountDatabase, page: LogPage): Promise<void> {
  await db.pullTransaction(() =>
    storeForeign(db, page.changes, (sync) => {
      const follows = sync.epoch === page.epoch || sync.epoch === null
      if (!follows || page.since > sync.cursor) return null
      return { ...sync, epoch: page.epoch, cursor: Math.max(sync.cursor, page.cursor) }
    }),
  )
}

/** Says whether the account's state has not been read to its end yet. */
export function needsBootstrap({ epoch, bootstrap, reread }: SyncState): boolean {
  return epoch === null || (bootstrap ?? reread ?? null) !== null
}

/** Stores news that follows the cursor or is known already; returns false for any other (L13). */
export async function applyNews(db: AccountDatabase, { epoch, prev_head, head, changes }: LogNews): Promise<boolean> {
  return db.pullTransaction(async () => {
    const read = await readStanding(db, changes ?? [])
    const { epoch: known, cursor } = read.sync
    if (epoch === known && head <= cursor) return true
    if (epoch !== known || prev_head !== cursor || !changes) return false
    await storeRead(db, changes, read, { ...read.sync, cursor: head })
    return true
  })
}

/**
 * Notes what the answer to a push says besides what is acknowledged, which `log` has already. The cursor moves behind
 * what this device has pushed itself, where it follows (L13); what was stamped again is pulled, because it may have won
 * over what came in between.
 */
export async function notePushed(db: AccountDatabase, push: Push, pushed: Pushed, log: OwnLog): Promise<void> {
  await db.metaTransaction(async () => {
    const sync = await readSync(db)
    const follows = sync.epoch === push.epoch && sync.cursor === pushed.prev_head && !needsBootstrap(sync)
    const cursor = follows && push.first_dseq > (log.stampedUntil ?? 0) ? pushed.head : sync.cursor
    const isInStep = log.nextDseq === log.ackedDseq + 1
    await db.putMeta('sync', { ...noted(db, sync, pushed.server_ms, isInStep), cursor })
  })
}

/** Stores changes that came by another way than the log, like pulled ones but without a cursor (S5, L17). */
export async function applyAside(db: AccountDatabase, changes: readonly StoredChange[]): Promise<void> {
  await db.pullTransaction(() => storeForeign(db, changes, () => null))
}

/**
 * Begins to read everything anew: the server has another history (L14, L21), or what is here lacks something (L19,
 * L20). What is here stays until all is read.
 */
export async function beginAnew(db: AccountDatabase, reason: Reread): Promise<void> {
  await db.metaTransaction(async () => {
    const sync = await readSync(db)
    const reread = sync.reread === 'history' ? 'history' : reason
    const epoch = reread === 'history' ? null : sync.epoch
    await db.putMeta('sync', { ...sync, epoch, cursor: 0, bootstrap: null, reread, inStepAt: null })
  })
}

/** Notes the server's time and that this device matched the server. */
export async function noteServer(db: AccountDatabase, serverMs: number, isInStep: boolean): Promise<void> {
  await db.metaTransaction(async () => {
    await db.putMeta('sync', noted(db, await readSync(db), serverMs, isInStep))
  })
}

function noted(db: AccountDatabase, sync: SyncState, serverMs: number, isInStep: boolean): SyncState {
  const now = db.environment.now()
  return { ...sync, offsetMs: serverMs - now, inStepAt: isInStep ? now : sync.inStepAt }
}

/** Stores changes of others. `moved` returns where this device has read to after them, or null to leave that. */
export async function storeForeign(
  db: AccountDatabase,
  changes: readonly StoredChange[],
  moved: (sync: SyncState) => SyncState | null,
  load = loadEntities,
): Promise<void> {
  const read = await readStanding(db, changes, load)
  await storeRead(db, changes, read, moved(read.sync))
}

/** Where this device stands, and what changes are merged into. */
interface Standing {
  log: OwnLog
  sync: SyncState
  held: Held
}

/** Reads all of it at once: each answer of IndexedDB that is waited for takes as long as many together. */
async function readStanding(
  db: AccountDatabase,
  changes: readonly StoredChange[],
  load = loadEntities,
): Promise<Standing> {
  const [[log = FIRST_LOG, sync = FIRST_SYNC], held] = await Promise.all([
    db.getMetas('ownLog', 'sync'),
    loadHeld(db, changes.map(placeOf), load),
  ])
  return { log, sync, held }
}

async function storeRead(
  db: AccountDatabase,
  changes: readonly StoredChange[],
  { log, sync, held }: Standing,
  after: SyncState | null,
): Promise<void> {
  await Promise.all([
    storeCells(db, changes, held, true),
    db.putMeta('ownLog', withSeen(log, changes, serverTime(db, sync))),
    ...(after === null ? [] : [db.putMeta('sync', after)]),
  ])
}

/** Returns the log after these changes have been seen (C2, C5). */
export function withSeen(log: OwnLog, changes: readonly StoredChange[], now: number): OwnLog {
  const firstSeen: Uint8Array = ZERO_CLOCK
  const seen = changes.reduce((greatest, [clk]) => observe(greatest, clk, now, limits.MAX_CLOCK_AHEAD_MS), firstSeen)
  // Copied, because a clock that came is a view on the whole page, and all of that would be stored with it.
  return { ...log, clock: later(log.clock, seen).slice(), sharedClock: later(log.sharedClock, seen).slice() }
}

/** What changes are merged into: their entities, one for each, the revisions of their scopes, and which are over. */
interface Held {
  entities: Entity[]
  revisions: Map<string, number>
  purged: ReadonlySet<string>
}

export async function loadHeld(db: AccountDatabase, places: readonly Place[], load = loadEntities): Promise<Held> {
  const scopes = [...new Set(places.map(({ scope }) => scope))]
  const [entities, standing] = await Promise.all([load(db, places), readScopes(db, scopes)])
  return { entities, ...standing }
}

/** Returns the revisions of conversations and which of them are over. */
export async function readScopes(
  db: AccountDatabase,
  scopes: readonly string[],
): Promise<Pick<Held, 'revisions' | 'purged'>> {
  const summaries = await db.summary.bulkGet([...scopes])
  return {
    revisions: new Map(scopes.map((scope, index) => [scope, summaries[index]?.revision ?? 0])),
    purged: new Set(summaries.flatMap((summary) => (summary?.purged === true ? [summary.id] : []))),
  }
}

/** Merges changes into their cells and renews what is worked out from them. Runs inside a log transaction. */
async function storeCells(
  db: AccountDatabase,
  changes: readonly StoredChange[],
  { entities, revisions, purged }: Held,
  isForeign = false,
): Promise<void> {
  const touched = new Set<Entity>()
  const ended = new Map<string, Entity>()
  const rewritten = new Set<string>()
  for (const [index, change] of changes.entries()) {
    const entity = entities[index]
    const isEnd = isPurge(change)
    if (entity === undefined || (!isEnd && (purged.has(entity.scope) || ended.has(entity.scope)))) continue
    if (!mergeCell(entity, change)) continue
    touched.add(entity)
    if (!isName(change)) rewritten.add(entity.scope)
    if (isEnd) ended.set(entity.scope, entity)
  }
  // Of a conversation that is over only its tombstone is kept (L18).
  for (const entity of ended.values()) entity.fields = tombstoneOf(entity)
  await removeScopes(db, [...ended.keys()])
  const kept = [...touched].filter((entity) => (ended.get(entity.scope) ?? entity) === entity)
  await saveTouched(db, kept, revisions, { isRenaming: (scope) => !rewritten.has(scope), isForeign })
}

/** Whether a change is of no more than the line in the list says of a conversation: neither its messages nor its end. */
function isName([, etype, , field]: StoredChange): boolean {
  return etype === EntityType.CONVERSATION && (field === ConversationField.TITLE || field === ConversationField.PINNED)
}

/** Merges a change into its cell; returns whether it won (L6). */
export function mergeCell({ fields }: Entity, change: StoredChange): boolean {
  const holder = fields[change[3]]
  if (!wins(change, holder)) return false
  if (holder !== undefined && isClone(change, holder)) reportClone(change)
  fields[change[3]] = change
  return true
}

/** What is kept of an entity whose conversation is over. */
function tombstoneOf({ etype, fields }: Entity): Entity['fields'] {
  const cell = etype === EntityType.CONVERSATION ? fields[ConversationField.PURGED] : undefined
  return cell === undefined ? {} : { [ConversationField.PURGED]: cell }
}

/** Removes conversations that the server says are over: it may have let go of their tombstones itself (L18). */
export async function dropScopes(db: AccountDatabase, scopes: readonly string[]): Promise<void> {
  if (scopes.length === 0) return
  await db.logTransaction(async () => {
    const { revisions } = await loadHeld(
      db,
      scopes.map((scope) => ({ etype: EntityType.CONVERSATION, eid: scope, scope })),
    )
    const emptied = await Promise.all(scopes.map((scope) => entitiesSince(db, scope, 0)))
    await removeSegments(db, scopes)
    // Emptied, not removed, so that other tabs see it.
    await saveTouched(
      db,
      emptied.flat().map((entity) => ({ ...entity, fields: tombstoneOf(entity) })),
      revisions,
    )
  })
}

function reportClone([clk, , eid]: StoredChange): void {
  console.error(`Two changes of ${toHex(eid)} share the clock ${toHex(clk)}: a device has been cloned.`)
}
