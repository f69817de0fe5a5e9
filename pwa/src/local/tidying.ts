/**
 * Tidying segments, over the years (L23). What is written of an entity after a first reading has a row, and its cells in
 * the segment are kept in vain: their space, and the reading of them each time. A segment of which half has rows is
 * given up, and the other half gets rows as well. Nothing changes for anybody who reads: each entity keeps its revision.
 */
import type { AccountDatabase } from './database'
import { rowsSince, saveEntities } from './entities'
import { entitiesOf, holds, keyOf, type SegmentKey } from './segments'

/** Gives up the segments of which most is in rows, each in a transaction of its own; returns how many. */
export async function tidySegments(db: AccountDatabase): Promise<number> {
  let count = 0
  for (const key of await db.segment.toCollection().primaryKeys()) if (await tidied(db, key)) count += 1
  return count
}

async function tidied(db: AccountDatabase, key: SegmentKey): Promise<boolean> {
  const [scope, revision] = key
  return db.pullTransaction(async () => {
    const [rows, [tidyings = 0]] = await Promise.all([
      rowsSince(db, scope, revision - 1).primaryKeys(),
      db.getMetas('tidyings'),
    ])
    const keys = new Set(rows.map(([etype, eid]) => keyOf({ etype, eid })).filter((row) => holds(key, row)))
    if (keys.size === 0) return false
    const segment = await db.segment.get(key)
    if (segment === undefined) return false
    const entities = entitiesOf(segment)
    const rest = entities.filter((entity) => !keys.has(keyOf(entity)))
    if (2 * rest.length > entities.length) return false
    await Promise.all([saveEntities(db, rest), db.segment.delete(key), db.putMeta('tidyings', tidyings + 1)])
    return true
  })
}
