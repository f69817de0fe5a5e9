/** What the server has not acknowledged: batches in order, acknowledgement, stamping again (rules L8, L10, C6). */
import Dexie from 'dexie'
import { compareBytes, equalBytes, fromHex } from '../protocol/bytes'
import { foldHashes } from '../protocol/canonical'
import { later, millisecondsOf, tick } from '../protocol/clock'
import { limits, type Change, type Push } from '../protocol/generated'
import { wins } from '../protocol/merge'
import type { AccountDatabase, OwnLog } from './database'
import { placeOf } from './entities'
import { FIRST_LOG, loadHeld, readDevice, readOwnLog, readSync, serverTime } from './log'
import { saveTouched } from './saving'
import { allWaiting, firstWaiting, packRows, unpackRows, waitingFrom, type WaitingChange } from './outboxRows'

// A change costs at most 60 bytes beyond a small value, 63 beyond a large one; the batch's own head stays below 128.
const CHANGE_OVERHEAD_BYTES = 64
const BATCH_OVERHEAD_BYTES = 128
/** After that something may have happened to it, and reading costs little. */
const FRESH_MS = 1_000

/** Returns the next push, or null when everything is acknowledged or the server's history is not known yet. */
export async function nextPush(db: AccountDatabase): Promise<Push | null> {
  return db.outboxReading(async () => {
    const [{ isForked }, { ackedDseq, ackedHash }, { epoch }, waiting] = await Promise.all([
      readDevice(db),
      readOwnLog(db),
      readSync(db),
      firstWaiting(db),
    ])
    if (waiting.length === 0 || epoch === null || isForked) return null
    return { epoch, first_dseq: ackedDseq + 1, prev_hash: ackedHash, changes: fitting(waiting) }
  })
}

/**
 * Returns what this tab has just written, if it was all that waited: nobody needs to read it again. Whatever another
 * tab has done meanwhile, the server knows a push by device and dseq (L8).
 */
export function takeFresh(db: AccountDatabase, deviceId: string | null): Push | null {
  const { fresh } = db
  db.fresh = null
  // After a login as another device it was stamped again, by another connection to the data.
  if (fresh === null || fresh.deviceId !== deviceId) return null
  return db.environment.now() - fresh.at < FRESH_MS ? fresh.push : null
}

/** Returns the push that follows `push` once all of that has been acknowledged, or null. `hash` is the chain's at its end. */
export async function pushAfter(db: AccountDatabase, push: Push, hash: Uint8Array): Promise<Push | null> {
  return db.outboxReading(async () => {
    const first_dseq = endOf(push) + 1
    const [{ isForked }, waiting] = await Promise.all([readDevice(db), waitingFrom(db, first_dseq)])
    if (isForked || waiting[0]?.dseq !== first_dseq) return null
    return { epoch: push.epoch, first_dseq, prev_hash: hash, changes: fitting(waiting) }
  })
}

/** Returns a push that ends with the change `dseq`, or null where that waits no more or never did. */
export async function pushThrough(db: AccountDatabase, dseq: number): Promise<Push | null> {
  return db.outboxReading(async () => {
    const [{ ackedDseq, ackedHash }, { epoch }, waiting] = await Promise.all([
      readOwnLog(db),
      readSync(db),
      allWaiting(db),
    ])
    const until = waiting.slice(0, dseq - ackedDseq)
    if (epoch === null || until.at(-1)?.dseq !== dseq) return null
    const { length } = fitting(until.toReversed())
    const before = until.slice(0, until.length - length).map(({ change }) => change)
    return {
      epoch,
      first_dseq: dseq - length + 1,
      prev_hash: foldHashes(ackedHash, ackedDseq + 1, before).at(-1) ?? ackedHash,
      changes: until.slice(-length).map(({ change }) => change),
    }
  })
}

/** Returns the chain's value at the end of a push. */
export function hashAfter({ prev_hash, first_dseq, changes }: Push): Uint8Array {
  return foldHashes(prev_hash, first_dseq, changes).at(-1) ?? prev_hash
}

/** Returns the last dseq of a push. */
export function endOf({ first_dseq, changes }: Push): number {
  return first_dseq + changes.length - 1
}

function fitting(waiting: readonly WaitingChange[]): Change[] {
  let room = limits.MAX_PUSH_BYTES - BATCH_OVERHEAD_BYTES
  const changes: Change[] = []
  for (const { change } of waiting.slice(0, limits.MAX_PUSH_CHANGES)) {
    room -= change[6].length + CHANGE_OVERHEAD_BYTES
    if (room < 0) break
    changes.push(change)
  }
  return changes
}

/** Calls `changed` after each commit, in any tab, that wrote the outbox; returns the function that ends this. */
export function watchOutbox(db: AccountDatabase, changed: () => void): () => void {
  const listener = (parts: Record<string, unknown>) => {
    if (`idb://${db.name}/outbox/` in parts) changed()
  }
  Dexie.on('storagemutated', listener)
  return () => {
    Dexie.on.storagemutated.unsubscribe(listener)
  }
}

/**
 * Removes what the server has committed and moves the chain to it. An older acknowledgement changes nothing, and
 * neither does one of a push that is not what waits here any more: as another device, or with other clocks. `hash` is
 * the chain's value at the end of the push, where that has been worked out already. Returns the log as it is then.
 */
export async function acknowledge(
  db: AccountDatabase,
  ackedDseq: number,
  pushed?: Push,
  hash?: Uint8Array,
): Promise<OwnLog> {
  return db.logTransaction(async () => {
    const [log, rows] = await Promise.all([
      readOwnLog(db),
      db.outbox.where('dseq').belowOrEqual(ackedDseq).sortBy('dseq'),
    ])
    const waiting = unpackRows(rows)
    const acked = waiting.filter(({ dseq }) => dseq <= ackedDseq)
    const last = acked.at(-1)
    if (last === undefined || !isPart(pushed, last)) return log
    const isAll = pushed !== undefined && endOf(pushed) === last.dseq
    const changes = acked.map(({ change }) => change)
    const folded = () => foldHashes(log.ackedHash, log.ackedDseq + 1, changes).at(-1)
    const next = {
      ...log,
      ackedDseq: last.dseq,
      ackedHash: (isAll ? hash : undefined) ?? folded() ?? log.ackedHash,
      sharedClock: later(log.sharedClock, last.change[0]).slice(),
    }
    await Promise.all([
      // As a range, which is one request to IndexedDB and not one a row.
      db.outbox.where('dseq').belowOrEqual(last.dseq).delete(),
      db.putMeta('ownLog', next),
    ])
    // What follows in the last row waits on.
    if (waiting.length > acked.length) await db.outbox.bulkAdd(packRows(waiting.slice(acked.length)))
    return next
  })
}

function isPart(push: Push | undefined, { dseq, change }: WaitingChange): boolean {
  const pushed = push?.changes[dseq - push.first_dseq]
  return pushed === undefined || equalBytes(pushed[0], change[0])
}

/** Gives every unacknowledged change a new clock: its old one was refused as ahead of the server's time (C6). */
export async function restamp(db: AccountDatabase): Promise<void> {
  await db.logTransaction(async () => {
    const log = await readOwnLog(db)
    await stampAgain(db, { ...log, clock: log.sharedClock })
  })
}

/** Makes this database write as `deviceId`. As another device than before, the outbox begins a new chain. */
export async function adoptDevice(db: AccountDatabase, deviceId: string): Promise<void> {
  await db.logTransaction(async () => {
    const device = await db.getMeta('device')
    if (device?.id === deviceId && !device.isForked) return
    await db.putMeta('device', { id: deviceId, isForked: false })
    const { clock, sharedClock } = await readOwnLog(db)
    await stampAgain(db, { ...FIRST_LOG, clock, sharedClock })
  })
}

/** The server holds another history of this device: nothing is pushed until a login brings a new device id. */
export async function markForked(db: AccountDatabase): Promise<void> {
  await db.logTransaction(async () => {
    await db.putMeta('device', { ...(await readDevice(db)), isForked: true })
  })
}

async function stampAgain(db: AccountDatabase, log: OwnLog): Promise<void> {
  db.fresh = null
  const waiting = await allWaiting(db)
  const device = fromHex((await readDevice(db)).id)
  const now = serverTime(db, await readSync(db))
  let { clock } = log
  const stamped = waiting.map(({ change, isOffer }, index): WaitingChange => {
    const dseq = log.ackedDseq + 1 + index
    const [clk, ...rest] = change
    // With a new clock an offer would win over what was written after it; only one that would be refused gets one.
    const isTaken = millisecondsOf(clk) <= now + limits.MAX_CLOCK_AHEAD_MS
    if (isOffer && isTaken) return { dseq, change, isOffer }
    clock = tick(clock, now, device)
    return { dseq, change: [clock, ...rest] }
  })
  await db.outbox.clear()
  await db.outbox.bulkAdd(packRows(stamped))
  const stampedUntil = log.ackedDseq + waiting.length
  await db.putMeta('ownLog', { ...log, clock, nextDseq: stampedUntil + 1, stampedUntil })
  await replaceCells(
    db,
    waiting.map(({ change }) => change),
    stamped.map(({ change }) => change),
  )
}

/**
 * Exchanges the stamped changes in the cells where the old ones still stand. One that had lost wins with its new clock,
 * here as on the server: a restored backup may lack it before it is read.
 */
async function replaceCells(db: AccountDatabase, old: readonly Change[], stamped: readonly Change[]): Promise<void> {
  const { entities, revisions } = await loadHeld(db, old.map(placeOf))
  for (const [index, change] of old.entries()) {
    const [clk, , , field] = change
    const entity = entities[index]
    const holder = entity?.fields[field]
    const next = stamped[index]
    if (entity === undefined || holder === undefined || next === undefined) continue
    if (compareBytes(holder[0], clk) === 0 || wins(next, holder)) entity.fields[field] = next
  }
  await saveTouched(db, [...new Set(entities)], revisions)
}
