/**
 * Entities with their cells. In IndexedDB the cells of one entity are a single byte string: a structured clone
 * of many small arrays takes longer than everything else, and a view on a large buffer drags all of it along.
 * Many are in segments still: see `segments.ts`.
 */
import { Decoder, Encoder } from '@msgpack/msgpack'
import { toHex } from '../protocol/bytes'
import type { StoredChange } from '../protocol/change'
import { foldSegment, type PackedMessage } from '../protocol/segments'
import type { AccountDatabase, EntityRecord } from './database'
import { entitiesOf, keyOf, loadPacked, packedScope, segmentsSince } from './segments'

/** Entities that are read and worked on without a pause: a few milliseconds. */
const PAGE = 500
/** So many entities of a conversation are asked for one by one. */
const FEW = 3

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
  const asked = [...distinct(places.filter(({ isNew }) => isNew !== true)).values()]
  return filledIn(places, await loadStored(db, asked, asked))
}

/** The same where most places are new, as when an account is read for the first time. */
export async function loadNewEntities(db: AccountDatabase, places: readonly Place[]): Promise<Entity[]> {
  const scopes = await storedScopes(db, places)
  const stored = places.filter(({ scope }) => scopes.has(scope))
  return filledIn(places, await loadKnown(db, stored))
}

/** Returns the conversations of these places of which something is stored: each of those has a summary. */
async function storedScopes(db: AccountDatabase, places: readonly Place[]): Promise<Set<string>> {
  const scopes = [...new Set(places.map(({ scope }) => scope))].sort()
  const [first, last] = [scopes[0], scopes.at(-1)]
  if (first === undefined || last === undefined) return new Set()
  // As a range, which is one request to IndexedDB and not one for each.
  return new Set(await db.summary.where('id').between(first, last, true, true).primaryKeys())
}

/**
 * Returns what is stored of the entities at these places, most of which are new: asking a scope for its keys takes as
 * long as asking for a few entities in vain.
 */
export async function loadKnown(db: AccountDatabase, places: readonly Place[]): Promise<Entity[]> {
  const asked = distinct(places)
  const placesByScope = new Map<string, Place[]>()
  for (const place of asked.values()) {
    const others = placesByScope.get(place.scope)
    if (others === undefined) placesByScope.set(place.scope, [place])
    else others.push(place)
  }
  const withRows = await Promise.all(
    [...placesByScope].map(async ([scope, inScope]) => {
      if (inScope.length <= FEW) return inScope
      const keys = await rowsSince(db, scope, 0).primaryKeys()
      return keys.flatMap(([etype, eid]) => asked.get(keyOf({ etype, eid })) ?? [])
    }),
  )
  return loadStored(db, withRows.flat(), [...asked.values()])
}

function distinct(places: readonly Place[]): Map<string, Place> {
  return new Map(places.map((place) => [keyOf(place), place]))
}

/** Returns one entity for each place: the stored one, or else a new one. */
function filledIn(places: readonly Place[], stored: readonly Entity[]): Entity[] {
  const entities = new Map(stored.map((entity) => [keyOf(entity), entity]))
  return places.map((place) => {
    const { etype, eid, scope } = place
    const key = keyOf(place)
    // Each by name: a place may be more than that, and all that an entity has is stored.
    const entity = entities.get(key) ?? { etype, eid, scope, revision: 0, fields: {} }
    entities.set(key, entity)
    return entity
  })
}

/** Returns the entities that have rows, of `rows`, and those of `places` that are in segments and have none. */
async function loadStored(db: AccountDatabase, rows: readonly Place[], places: readonly Place[]): Promise<Entity[]> {
  const keys = rows.map(({ etype, eid }): [number, string] => [etype, eid])
  const [records, packed] = await Promise.all([
    keys.length === 0 ? [] : db.entity.bulkGet(keys),
    loadPacked(db, places),
  ])
  return withoutShadowed(
    records.flatMap((record) => (record === undefined ? [] : [unpack(record)])),
    packed,
  )
}

/** Returns the entities with rows and those in segments that have none. */
function withoutShadowed(rows: Entity[], packed: readonly Entity[]): Entity[] {
  if (packed.length === 0) return rows
  const keys = new Set(rows.map(keyOf))
  return [...rows, ...packed.filter((entity) => !keys.has(keyOf(entity)))]
}

export async function saveEntities(db: AccountDatabase, entities: Iterable<Entity>): Promise<void> {
  await db.entity.bulkPut([...entities].map(pack))
}

/** Returns the entities of a scope that were written after its `revision`. */
export async function entitiesSince(db: AccountDatabase, scope: string, revision: number): Promise<Entity[]> {
  const [rows, segments] = await Promise.all(recordsSince(db, scope, revision))
  return withoutShadowed(rows.map(unpack), segments.flatMap(entitiesOf))
}

/** What was written of a conversation: entities with rows, and messages that have none, with the revision they came in. */
export interface Written {
  rows: Entity[]
  packed: (PackedMessage & { revision: number })[]
}

/** Returns the same with the messages of segments folded already. */
export async function writtenSince(db: AccountDatabase, scope: string, revision: number): Promise<Written> {
  const [records, segments] = await Promise.all(recordsSince(db, scope, revision))
  const rows = records.map(unpack)
  const packed = segments.flatMap((segment) =>
    foldSegment(segment.packed).map((folded) => ({ ...folded, revision: segment.revision })),
  )
  const keys = new Set(rows.map(keyOf))
  return { rows, packed: keys.size === 0 ? packed : packed.filter((folded) => !keys.has(keyOf(folded))) }
}

/** Both are Dexie's own promises: it loses its transaction where async functions are nested deeply. */
function recordsSince(db: AccountDatabase, scope: string, revision: number) {
  return [rowsSince(db, scope, revision).toArray(), segmentsSince(db, scope, revision).toArray()] as const
}

/** The rows of a scope that were written after its `revision`. */
export function rowsSince(db: AccountDatabase, scope: string, revision: number) {
  return db.entity.where('[scope+revision]').between([scope, revision], [scope, Infinity], false)
}

/** Removes what is stored of conversations. Their tombstones, if they are kept, are saved afterwards. */
export async function removeScopes(db: AccountDatabase, scopes: readonly string[]): Promise<void> {
  await Promise.all(scopes.map((scope) => rowsSince(db, scope, 0).delete()))
  await removeSegments(db, scopes)
  await db.outline.bulkDelete([...scopes])
}

/** Removes the segments of conversations, whose entities have rows or are gone. */
export async function removeSegments(db: AccountDatabase, scopes: readonly string[]): Promise<void> {
  await Promise.all(scopes.map((scope) => segmentsSince(db, scope, 0).delete()))
}

export async function allEntities(db: AccountDatabase): Promise<Entity[]> {
  const [rows, segments] = await Promise.all([db.entity.toArray(), db.segment.toArray()])
  return withoutShadowed(rows.map(unpack), segments.flatMap(entitiesOf))
}

/** Returns the conversations of which something is stored. */
export async function allScopes(db: AccountDatabase): Promise<Set<string>> {
  const scopes = new Set<string>()
  await db.entity.each((record) => scopes.add(record.scope))
  for (const [scope] of await db.segment.toCollection().primaryKeys()) scopes.add(scope)
  return scopes
}

/** Yields all entities, a page in a transaction of its own: others get their turn between two. */
export async function* entityPages(db: AccountDatabase): AsyncGenerator<Entity[]> {
  for (let page = await db.entity.limit(PAGE).toArray(); page.length > 0;) {
    yield page.map(unpack)
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) break
    page = await db.entity.where('[etype+eid]').above([last.etype, last.eid]).limit(PAGE).toArray()
  }
  for (const key of await db.segment.toCollection().primaryKeys()) yield await unshadowed(db, key)
}

/** Returns the entities of a segment that have no rows. */
async function unshadowed(db: AccountDatabase, key: [string, number, string, string]): Promise<Entity[]> {
  return db.transaction('r', [db.entity, db.segment], async () => {
    const [scope, revision] = key
    const [segment, rows] = await Promise.all([db.segment.get(key), rowsSince(db, scope, revision - 1).primaryKeys()])
    if (segment === undefined) return []
    const keys = new Set(rows.map(([etype, eid]) => keyOf({ etype, eid })))
    return entitiesOf(segment).filter((entity) => !keys.has(keyOf(entity)))
  })
}

/** Returns in which conversation an entity is, or null where it is not stored. */
export async function scopeOf(db: AccountDatabase, etype: number, eid: string): Promise<string | null> {
  return (await db.entity.get([etype, eid]))?.scope ?? packedScope(db, etype, eid)
}

function pack({ fields, ...entity }: Entity): EntityRecord {
  return { ...entity, cells: encoder.encode(Object.values(fields)) }
}

function unpack({ cells, ...entity }: EntityRecord): Entity {
  const stored = decoder.decode(cells) as StoredChange[]
  return { ...entity, fields: Object.fromEntries(stored.map((cell) => [cell[3], cell])) }
}
