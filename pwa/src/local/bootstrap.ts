/** Storing the account's state as it is read for the first time, a page at a time (L16, L23). */
import type { StoredChange } from '../protocol/change'
import type { PulledChange } from '../protocol/generated'
import type { AccountDatabase, SyncState } from './database'
import { loadKnown, loadNewEntities, type Entity } from './entities'
import { mergeCell, readOwnLog, readScopes, readSync, serverTime, storeForeign, withSeen } from './log'
import { saveTouched } from './saving'
import { entitiesIn, isPackable, keyOf, segmentRecord } from './segments'

/** Fewer entities than this are kept as rows, which are written to more easily. */
const LEAST_IN_SEGMENT = 4

/** A page of the account's state, in the order of keys. */
export interface BootstrapPage {
  epoch: number
  /** Where the page began; null for the first one. */
  from: string | null
  /** Where the next one begins; null after the last one. */
  after: string | null
  /** The head that the first page saw: what came later is pulled from there. */
  head: number
  changes: readonly PulledChange[]
  segments: readonly Uint8Array[]
}

/** A segment of a page and the entities in it. */
interface Received {
  packed: Uint8Array
  entities: Entity[]
}

/** Stores a page of the state and notes where to go on (L16). Returns false when another tab has been here. */
export async function applyBootstrap(db: AccountDatabase, page: BootstrapPage): Promise<boolean> {
  const received = page.segments.map((packed): Received => ({ packed, entities: entitiesIn(packed, 0) }))
  const segments = received.filter(isKept)
  const small = received.filter((segment) => !isKept(segment)).flatMap(({ entities }) => entities.flatMap(cellsOf))
  return db.pullTransaction(async () => {
    const { bootstrap = null, cursor, reread } = await readSync(db)
    if (reread || bootstrap !== page.from || cursor > 0) return false
    const moved = (sync: SyncState) => ({
      ...sync,
      epoch: page.epoch,
      bootstrap: page.after,
      cursor: page.after === null ? page.head : 0,
    })
    await storeForeign(db, [...page.changes, ...small], moved, loadNewEntities)
    if (segments.length > 0) await storeSegments(db, segments)
    if (page.after === null) await db.putMeta('comparedAt', db.environment.now())
    return true
  })
}

function isKept({ entities }: Received): boolean {
  return entities.length >= LEAST_IN_SEGMENT && entities.every(({ etype }) => isPackable(etype))
}

/** Keeps segments as they are. What is here already of their entities, or comes twice, is merged into rows. */
async function storeSegments(db: AccountDatabase, received: readonly Received[]): Promise<void> {
  const scopes = new Set(received.map(scopeOfSegment))
  const [{ revisions, purged }, log, sync] = await Promise.all([
    readScopes(db, [...scopes]),
    readOwnLog(db),
    readSync(db),
  ])
  const segments = received.filter((segment) => !purged.has(scopeOfSegment(segment)))
  const touched = new Map<string, Entity>()
  const rows = new Set<Entity>()
  for (const { entities } of segments) {
    for (const entity of entities) {
      entity.revision = (revisions.get(entity.scope) ?? 0) + 1
      const twin = touched.get(keyOf(entity))
      if (twin === undefined) touched.set(keyOf(entity), entity)
      else rows.add(merged(twin, entity))
    }
  }
  for (const held of await loadKnown(db, [...touched.values()])) {
    const come = touched.get(keyOf(held))
    if (come === undefined) continue
    rows.delete(come)
    rows.add(merged(held, come))
    touched.set(keyOf(held), held)
  }
  const isInRow = (entity: Entity) => rows.has(touched.get(keyOf(entity)) ?? entity)
  const records = segments
    .filter(({ entities }) => !entities.every(isInRow))
    .map(({ packed, entities }) => segmentRecord(packed, entities))
  const seen = received.flatMap(({ entities }) => entities.flatMap(cellsOf))
  await saveTouched(db, [...touched.values()], revisions, { rows })
  await Promise.all([db.segment.bulkAdd(records), db.putMeta('ownLog', withSeen(log, seen, serverTime(db, sync)))])
}

function scopeOfSegment({ entities }: Received): string {
  return entities[0]?.scope ?? ''
}

/** Merges what `come` has into `held` and returns that. */
function merged(held: Entity, come: Entity): Entity {
  for (const cell of cellsOf(come)) mergeCell(held, cell)
  return held
}

function cellsOf({ fields }: Entity): StoredChange[] {
  return Object.values(fields)
}
