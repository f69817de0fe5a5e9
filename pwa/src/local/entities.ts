/**
 * Entities with their cells. In IndexedDB the cells of one entity are a single byte string: a structured clone
 * of many small arrays takes longer than everything else, and a view on a large buffer drags all of it along.
 */
import { Decoder, Encoder } from '@msgpack/msgpack'
import { toHex } from '../protocol/bytes'
import type { StoredChange } from '../protocol/change'
import type { AccountDatabase, EntityRecord } from './database'

// Made once: a new one for every record costs more than its work.
const decoder = new Decoder()
const encoder = new Encoder()

export interface Entity {
  etype: number
  eid: string
  scope: string
  /** Cells by field. */
  fields: Record<number, StoredChange>
}

/** Returns the entities that these changes write to, as stored or new and empty, in the order of `changes`. */
export async function loadEntities(db: AccountDatabase, changes: readonly StoredChange[]): Promise<Entity[]> {
  const entities = new Map<string, Entity>()
  const keyOf = ([, etype, eid]: StoredChange) => `${String(etype)}:${toHex(eid)}`
  for (const change of changes) {
    const [, etype, eid, , scope] = change
    entities.set(keyOf(change), { etype, eid: toHex(eid), scope: toHex(scope), fields: {} })
  }
  const keys = [...entities.values()].map(({ etype, eid }): [number, string] => [etype, eid])
  for (const record of await db.entity.bulkGet(keys)) {
    if (record !== undefined) entities.set(`${String(record.etype)}:${record.eid}`, unpack(record))
  }
  return changes.map((change) => entities.get(keyOf(change)) ?? missing())
}

export async function saveEntities(db: AccountDatabase, entities: Iterable<Entity>): Promise<void> {
  await db.entity.bulkPut([...entities].map(pack))
}

/** Returns the entities of one type in a scope. */
export async function entitiesInScope(db: AccountDatabase, etype: number, scope: string): Promise<Entity[]> {
  return (await db.entity.where('[etype+scope]').equals([etype, scope]).toArray()).map(unpack)
}

export async function loadEntity(db: AccountDatabase, etype: number, eid: string): Promise<Entity | null> {
  const record = await db.entity.get([etype, eid])
  return record === undefined ? null : unpack(record)
}

function pack({ etype, eid, scope, fields }: Entity): EntityRecord {
  return { etype, eid, scope, cells: encoder.encode(Object.values(fields)) }
}

function unpack({ etype, eid, scope, cells }: EntityRecord): Entity {
  const stored = decoder.decode(cells) as StoredChange[]
  return { etype, eid, scope, fields: Object.fromEntries(stored.map((cell) => [cell[3], cell])) }
}

function missing(): never {
  throw new Error('every change has its entity')
}
