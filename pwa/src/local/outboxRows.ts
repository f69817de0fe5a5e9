/** How the outbox lies in IndexedDB: a row for all that one transaction wrote, packed. */
import { Decoder, Encoder } from '@msgpack/msgpack'
import type { Table } from 'dexie'
import { toHex } from '../protocol/bytes'
import { EntityType, limits, MessageField, type Change } from '../protocol/generated'
import type { AccountDatabase, OutboxRecord } from './database'

const decoder = new Decoder()
const encoder = new Encoder()

/** A change that waits, with its place in the device's log. */
export interface WaitingChange {
  dseq: number
  change: Change
  /** What a server lost that was restored from a backup: its clock stays (L21). */
  isOffer?: true
}

/** Returns the rows for changes in the order of the log: each holds at most what one push may. */
export function packRows(waiting: readonly WaitingChange[]): OutboxRecord[] {
  const groups: WaitingChange[][] = []
  let [last, bytes] = [undefined as WaitingChange | undefined, 0]
  for (const next of waiting) {
    const group = groups.at(-1)
    bytes += next.change[6].length
    const follows = last?.dseq === next.dseq - 1 && last.isOffer === next.isOffer
    const fits = (group?.length ?? 0) < limits.MAX_PUSH_CHANGES && bytes <= limits.MAX_PUSH_BYTES
    if (group !== undefined && follows && fits) group.push(next)
    else {
      groups.push([next])
      bytes = next.change[6].length
    }
    last = next
  }
  return groups.map(packRow)
}

function packRow(group: readonly WaitingChange[]): OutboxRecord {
  const [first] = group
  if (first === undefined) throw new Error('a row holds a change')
  const changes = group.map(({ change }) => change)
  return {
    dseq: first.dseq,
    scopes: [...new Set(changes.map((change) => toHex(change[4])))],
    requests: changes.filter(isRequest).map((change) => toHex(change[2])),
    ...(first.isOffer === true ? { isOffer: true } : {}),
    changes: encoder.encode(changes),
  }
}

function isRequest([, etype, , field]: Change): boolean {
  return etype === EntityType.MESSAGE && field === MessageField.REQUEST
}

/** Returns the changes in rows. Their byte strings are views on the rows: who stores one copies it. */
export function unpackRows(rows: readonly OutboxRecord[]): WaitingChange[] {
  return rows.flatMap(({ dseq, isOffer, changes }) =>
    (decoder.decode(changes) as Change[]).map((change, index): WaitingChange => {
      return { dseq: dseq + index, change, ...(isOffer === true ? { isOffer } : {}) }
    }),
  )
}

/** Returns all that waits, in the order of the log. */
export async function allWaiting(db: AccountDatabase): Promise<WaitingChange[]> {
  return unpackRows(await db.outbox.orderBy('dseq').toArray())
}

/** Returns what waits in a conversation. */
export async function waitingIn(db: AccountDatabase, scope: string): Promise<WaitingChange[]> {
  const rows = await db.outbox.where('scopes').equals(scope).sortBy('dseq')
  return unpackRows(rows).filter(({ change }) => toHex(change[4]) === scope)
}

/** Returns as many of the first that wait as a push may hold, or some more. */
export async function firstWaiting(db: AccountDatabase): Promise<WaitingChange[]> {
  const [first] = await db.outbox.orderBy('dseq').limit(1).primaryKeys()
  return first === undefined ? [] : waitingFrom(db, first)
}

/** Returns what waits from `dseq` on, as many as a push may hold or some more. */
export async function waitingFrom(db: AccountDatabase, dseq: number): Promise<WaitingChange[]> {
  const rows = await db.outbox
    .where('dseq')
    .between(dseq, dseq + limits.MAX_PUSH_CHANGES)
    .toArray()
  // What is wanted may begin inside a row.
  if (rows[0]?.dseq !== dseq) {
    const before = await db.outbox.where('dseq').below(dseq).last()
    if (before !== undefined) rows.unshift(before)
  }
  return unpackRows(rows).filter((waiting) => waiting.dseq >= dseq)
}

/** A change and its place as the outbox kept them until version 3 of the database. */
interface OldRecord {
  dseq: number
  isOffer?: true
  change: Change
}

/** Brings an outbox with a row for each change into rows of many. */
export async function joinRows(outbox: Table<unknown, number>): Promise<void> {
  const old = (await outbox.orderBy('dseq').toArray()) as OldRecord[]
  await outbox.clear()
  await outbox.bulkAdd(packRows(old))
}
