/**
 * Entities in segments, as they came when the account was first read (L23): a row of its own for each takes IndexedDB
 * ten times as long. A segment never changes. An entity that is written later, or that comes twice, gets a row with all
 * its cells, and where there is a row it alone counts: its revision is that of its segments or a later one.
 */
import { toHex } from '../protocol/bytes'
import { EntityType } from '../protocol/generated'
import { unpackSegment } from '../protocol/segments'
import type { AccountDatabase, SegmentRecord } from './database'
import type { Entity, Place } from './entities'

export type SegmentKey = [scope: string, revision: number, first: string, last: string]

/** The key of an entity as text, in the order of bytes. */
export function keyOf({ etype, eid }: Pick<Place, 'etype' | 'eid'>): string {
  return etype.toString(16).padStart(4, '0') + eid
}

/** Returns the entities of packed cells. Throws RangeError for bytes that are no segment. */
export function entitiesIn(packed: Uint8Array, revision: number): Entity[] {
  const { scope: scopeBytes, entities } = unpackSegment(packed)
  const scope = toHex(scopeBytes)
  return entities.map(({ etype, eid, cells }) => {
    const fields: Entity['fields'] = {}
    for (const cell of cells) fields[cell[3]] = cell
    return { etype, eid: toHex(eid), scope, revision, fields }
  })
}

/** Returns the record for packed cells and the entities in them. */
export function segmentRecord(packed: Uint8Array, entities: readonly Entity[]): SegmentRecord {
  const keys = entities.map(keyOf).sort()
  const [{ scope, revision } = { scope: '', revision: 0 }] = entities
  // Copied, because what came is a view on the whole page, and all of that would be stored with it.
  return { scope, revision, first: keys[0] ?? '', last: keys.at(-1) ?? '', packed: packed.slice() }
}

/** The segments of a scope that came after its `revision`. */
export function segmentsSince(db: AccountDatabase, scope: string, revision: number) {
  return db.segment.where('[scope+revision+first+last]').between([scope, revision + 1], [scope, Infinity])
}

export function entitiesOf({ packed, revision }: SegmentRecord): Entity[] {
  return entitiesIn(packed, revision)
}

/** A conversation itself is never in a segment: its fields are what ends it and what lists it. */
export function isPackable(etype: number): boolean {
  return etype !== EntityType.CONVERSATION
}

/** Returns those of the entities at `places` that are in segments. */
export async function loadPacked(db: AccountDatabase, places: readonly Place[]): Promise<Entity[]> {
  const asked = places.filter(({ etype }) => isPackable(etype))
  if (asked.length === 0) return []
  const scopes = [...new Set(asked.map(({ scope }) => scope))]
  const keys = await Promise.all(scopes.map((scope) => segmentsSince(db, scope, 0).primaryKeys()))
  const keysByScope = new Map(scopes.map((scope, index) => [scope, keys[index] ?? []]))
  const needed = new Set<SegmentKey>()
  const wanted = new Set<string>()
  for (const place of asked) {
    const key = keyOf(place)
    wanted.add(key)
    for (const segment of keysByScope.get(place.scope) ?? []) if (holds(segment, key)) needed.add(segment)
  }
  if (needed.size === 0) return []
  const records = await db.segment.bulkGet([...needed])
  return records
    .flatMap((record) => (record === undefined ? [] : entitiesOf(record)))
    .filter((entity) => wanted.has(keyOf(entity)))
}

/** Returns the conversation of an entity that is in a segment, or null. */
export async function packedScope(db: AccountDatabase, etype: number, eid: string): Promise<string | null> {
  const key = keyOf({ etype, eid })
  for (const segment of await db.segment.toCollection().primaryKeys()) {
    if (!holds(segment, key)) continue
    const [scope] = segment
    if ((await loadPacked(db, [{ etype, eid, scope }])).length > 0) return scope
  }
  return null
}

/** Whether an entity with this key may be in the segment. */
export function holds([, , first, last]: SegmentKey, key: string): boolean {
  return first <= key && key <= last
}
