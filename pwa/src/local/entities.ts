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

/** Which entity, and in which conversation. */
export interface Place {
  etype: number
  eid: string
  scope: string
}

export interface Entity extends Place {
  /** The scope's revision in which it was written last. */
  revision: number
  /** Cells by field. */
  fields: Record<number, StoredChange>
}

export function placeOf([, etype, eid, , scope]: StoredChange): Place {
  return { etype, eid: toHex(eid), scope: toHex(scope) }
}

/** Returns the entities at these places, as stored or new and empty: one for each place, the same for equal ones. */
export async function loadEntities(db: AccountDatabase, places: readonly Place[]): Promise<Entity[]> {
  const keyOf = ({ etype, eid }: Place) => `${String(etype)}:${eid}`
  const entities = new Map(places.map((place) => [keyOf(place), place]))
  const stored = await db.entity.bulkGet([...entities.values()].map(({ etype, eid }): [number, string] => [etype, eid]))
  const found = new Map(
    [...entities].map(([key, { etype, eid, scope }], index): [string, Entity] => {
      const record = stored[index]
      return [key, record === undefined ? { etype, eid, scope, revision: 0, fields: {} } : unpack(record)]
    }),
  )
  return places.map((place) => found.get(keyOf(place)) ?? missing())
}

export async function saveEntities(db: AccountDatabase, entities: Iterable<Entity>): Promise<void> {
  await db.entity.bulkPut([...entities].map(pack))
}

/** Returns the entities of a scope that were written after its `revision`. */
export async function entitiesSince(db: AccountDatabase, scope: string, revision: number): Promise<Entity[]> {
  const written = db.entity.where('[scope+revision]').between([scope, revision], [scope, Infinity], false)
  return (await written.toArray()).map(unpack)
}

export async function loadEntity(db: AccountDatabase, etype: number, eid: string): Promise<Entity | null> {
  const record = await db.entity.get([etype, eid])
  return record === undefined ? null : unpack(record)
}

function pack({ fields, ...entity }: Entity): EntityRecord {
  return { ...entity, cells: encoder.encode(Object.values(fields)) }
}

function unpack({ cells, ...entity }: EntityRecord): Entity {
  const stored = decoder.decode(cells) as StoredChange[]
  return { ...entity, fields: Object.fromEntries(stored.map((cell) => [cell[3], cell])) }
}

function missing(): never {
  throw new Error('every place has its entity')
}
