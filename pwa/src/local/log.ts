/** Writing changes and storing those of others (rules L6, L7, L15). Each function is one transaction. */
import { fromHex, toHex } from '../protocol/bytes'
import { FIRST_HASH } from '../protocol/canonical'
import type { StoredChange } from '../protocol/change'
import { observe, tick, ZERO_CLOCK } from '../protocol/clock'
import { ProblemError } from '../protocol/errors'
import { EntityType, limits, MessageField, type Change, type PulledChange } from '../protocol/generated'
import { isClone, wins } from '../protocol/merge'
import type { AccountDatabase, DeviceIdentity, OutboxRecord, OwnLog, SyncState } from './database'
import { loadEntities, saveEntities, type Entity } from './entities'
import { refreshSummaries } from './summaries'

/** A change before it has a clock. */
export interface Draft {
  etype: number
  eid: string
  field: number
  scope: string
  value: Uint8Array
}

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
export async function serverTime(db: AccountDatabase): Promise<number> {
  return db.environment.now() + (await readSync(db)).offsetMs
}

/**
 * Writes changes of this device: clocks, dseqs, cells and outbox rows together. The transaction is what keeps
 * two tabs from taking the same dseq. Throws ProblemError `token_missing` before the first login.
 */
export async function write(db: AccountDatabase, drafts: readonly Draft[]): Promise<void> {
  await db.logTransaction(async () => {
    const device = fromHex((await readDevice(db)).id)
    const log = await readOwnLog(db)
    const now = await serverTime(db)
    let { clock } = log
    const changes = drafts.map(({ etype, eid, field, scope, value }): Change => {
      clock = tick(clock, now, device)
      return [clock, etype, fromHex(eid), field, fromHex(scope), 0, value]
    })
    await db.outbox.bulkAdd(changes.map((change, index) => outboxRecord(log.nextDseq + index, change)))
    await db.putMeta('ownLog', { ...log, clock, nextDseq: log.nextDseq + changes.length })
    await storeCells(db, changes)
  })
}

export function outboxRecord(dseq: number, change: Change): OutboxRecord {
  const [, etype, eid, field, scope] = change
  const isRequest = etype === EntityType.MESSAGE && field === MessageField.REQUEST
  return { dseq, scope: toHex(scope), change, ...(isRequest ? { request: toHex(eid) } : {}) }
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
  await db.logTransaction(async () => {
    const sync = await readSync(db)
    await storeForeign(db, page.changes)
    const follows = sync.epoch === page.epoch || sync.epoch === null
    if (!follows || page.since > sync.cursor) return
    await db.putMeta('sync', { ...sync, epoch: page.epoch, cursor: Math.max(sync.cursor, page.cursor) })
  })
}

/** Stores the changes that came with the end of a run, like pulled ones but without a cursor (S5). */
export async function applyEnded(db: AccountDatabase, changes: readonly Change[]): Promise<void> {
  await db.logTransaction(() => storeForeign(db, changes))
}

/** Begins to read another history of the server from its start (L14). */
export async function changeEpoch(db: AccountDatabase, epoch: number | null): Promise<void> {
  await db.logTransaction(async () => {
    await db.putMeta('sync', { ...(await readSync(db)), epoch, cursor: 0, inStepAt: null })
  })
}

/** Notes the server's time and that this device matched the server. */
export async function noteServer(db: AccountDatabase, serverMs: number, isInStep: boolean): Promise<void> {
  await db.logTransaction(async () => {
    const now = db.environment.now()
    const sync = await readSync(db)
    await db.putMeta('sync', { ...sync, offsetMs: serverMs - now, inStepAt: isInStep ? now : sync.inStepAt })
  })
}

async function storeForeign(db: AccountDatabase, changes: readonly StoredChange[]): Promise<void> {
  await storeCells(db, changes)
  const log = await readOwnLog(db)
  const now = await serverTime(db)
  const seen = (last: Uint8Array) =>
    changes.reduce((greatest, [clk]) => observe(greatest, clk, now, limits.MAX_CLOCK_AHEAD_MS), last)
  await db.putMeta('ownLog', { ...log, clock: seen(log.clock), sharedClock: seen(log.sharedClock) })
}

/** Merges changes into their cells and renews what is worked out from them. Runs inside a log transaction. */
async function storeCells(db: AccountDatabase, changes: readonly StoredChange[]): Promise<void> {
  const entities = await loadEntities(db, changes)
  const touched = new Set<Entity>()
  for (const [index, change] of changes.entries()) {
    const entity = entities[index]
    const holder = entity?.fields[change[3]]
    if (entity === undefined || !wins(change, holder)) continue
    if (holder !== undefined && isClone(change, holder)) reportClone(change)
    entity.fields[change[3]] = change
    entity.scope = toHex(change[4])
    touched.add(entity)
  }
  await saveEntities(db, touched)
  await refreshSummaries(db, new Set([...touched].map((entity) => entity.scope)))
}

function reportClone([clk, , eid]: StoredChange): void {
  console.error(`Two changes of ${toHex(eid)} share the clock ${toHex(clk)}: a device has been cloned.`)
}
