/**
 * Entities with their cells. In IndexedDB the cells of one entity are a single byte string: a structured clone
 * of many small arrays takes longer than everything else, and a view on a large buffer drags all of it along.
 */
import { Decoder, Encoder } from '@msgpack/msgpack'
import { toHex } from '../protocol/bytes'
import type { StoredChange } from '../protocol/change'
import type { AccountDatabase, EntityRecord } from './database'

/** Entities that are read and worked on without a pause: a few milliseconds. */
const PAGE = 500

// Made once: a new one for every record costs more than its work.
const decoder = new Decoder()
const encoder = new Encoder()

/** Which entity, and in which conversation. */
export interface Place {
  etype: number
  eid: string
  scope: string
  /** Its id was made just now, so nothing is stored of it and nobody needs to look. */
  isNew?: true
}

export interface Entity extends Omit<Place, 'isNew'> {
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
  return loadKnown(db, places, ({ isNew }) => isNew !== true)
}

/**
 * The same where most places are new, as when an account is read for the first time: asking a scope for its keys
 * takes as long as asking for one entity in vain.
 */
export async function loadNewEntities(db: AccountDatabase, places: readonly Place[]): Promise<Entity[]> {
  const scopes = [...new Set(places.map(({ scope }) => scope))]
  const keys = await Promise.all(scopes.map((scope) => sinceRevision(db, scope, 0).primaryKeys()))
  const known = new Set(keys.flat().map(([etype, eid]) => keyOf({ etype, eid })))
  return loadKnown(db, places, (place) => known.has(keyOf(place)))
}

async function loadKnown(
  db: AccountDatabase,
  places: readonly Place[],
  isKnown: (place: Place) => boolean,
): Promise<Entity[]> {
  const entities = new Map<string, Entity>()
  const asked = new Map<string, Place>()
  for (const place of places) {
    const { etype, eid, scope } = place
    const key = keyOf(place)
    // Each by name: a place may be more than that, and all that an entity has is stored.
    if (!entities.has(key)) entities.set(key, { etype, eid, scope, revision: 0, fields: {} })
    if (isKnown(place)) asked.set(key, place)
  }
  const keys = [...asked.values()].map(({ etype, eid }): [number, string] => [etype, eid])
  const stored = keys.length === 0 ? [] : await db.entity.bulkGet(keys)
  for (const record of stored) if (record !== undefined) entities.set(keyOf(record), unpack(record))
  return places.map((place) => entities.get(keyOf(place)) ?? missing())
}

function keyOf({ etype, eid }: Pick<Place, 'etype' | 'eid'>): string {
  return `${String(etype)}:${eid}`
}

export async function saveEntities(db: AccountDatabase, entities: Iterable<Entity>): Promise<void> {
  await db.entity.bulkPut([...entities].map(pack))
}

/** Returns the entities of a scope that were written after its `revision`. */
export async function entitiesSince(db: AccountDatabase, scope: string, revision: number): Promise<Entity[]> {
  return (await sinceRevision(db, scope, revision).toArray()).map(unpack)
}

function sinceRevision(db: AccountDatabase, scope: string, revision: number) {
  return db.entity.where('[scope+revision]').between([scope, revision], [scope, Infinity], false)
}

/** Removes what is stored of conversations. Their tombstones, if they are kept, are saved afterwards. */
export async function removeScopes(db: AccountDatabase, scopes: readonly string[]): Promise<void> {
  await Promise.all(scopes.map((scope) => sinceRevision(db, scope, 0).delete()))
  await db.outline.bulkDelete([...scopes])
}

export async function allEntities(db: AccountDatabase): Promise<Entity[]> {
  return (await db.entity.toArray()).map(unpack)
}

/** Yields all entities in the order of keys, a page in a transaction of its own: others get their turn between two. */
export async function* entityPages(db: AccountDatabase): AsyncGenerator<Entity[]> {
  for (let page = await db.entity.limit(PAGE).toArray(); page.length > 0;) {
    yield page.map(unpack)
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    page = await db.entity.where('[etype+eid]').above([last.etype, last.eid]).limit(PAGE).toArray()
  }
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
