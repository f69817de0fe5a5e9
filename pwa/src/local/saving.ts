/** Saving entities together with all that is worked out from them. Runs inside a log transaction. */
import type { AccountDatabase } from './database'
import { saveEntities, type Entity } from './entities'
import { renewal, retitled, saveRenewals, snapshotBefore, type Renewal } from './summaries'

interface Saving {
  /** Those that get rows of their own; the others are in a segment of the revision that is saved. */
  rows?: Iterable<Entity>
  /** Of which conversations title and pin were written, and nothing else. */
  isRenaming?: (scope: string) => boolean
  /** Others wrote it: it may be shown at once. */
  isForeign?: boolean
}

/** Saves entities under the next revision of their scopes, and renews what is worked out from those. */
export async function saveTouched(
  db: AccountDatabase,
  touched: readonly Entity[],
  revisions: ReadonlyMap<string, number>,
  { rows = touched, isRenaming = () => false, isForeign = false }: Saving = {},
): Promise<void> {
  const writtenByScope = new Map<string, Entity[]>()
  for (const entity of touched) {
    const written = writtenByScope.get(entity.scope)
    if (written === undefined) writtenByScope.set(entity.scope, [entity])
    else written.push(entity)
  }
  // Read before anything is written: what has ended is told from what was pending.
  const renewals = await Promise.all(
    [...writtenByScope].map(async ([scope, written]): Promise<() => Renewal> => {
      const revision = revisions.get(scope) ?? 0
      if (isRenaming(scope) && db.snapshots.get(scope).revision !== revision) {
        const summary = retitled(await db.summary.get(scope), written, revision + 1)
        if (summary !== null) return () => ({ summary, pending: [], ended: [] })
      }
      const before = await snapshotBefore(db, scope, revision)
      return () => renewal(db, scope, before, written)
    }),
  )
  for (const entity of touched) entity.revision = (revisions.get(entity.scope) ?? 0) + 1
  const made = renewals.map((renewed) => renewed())
  const saved = Promise.all([saveEntities(db, rows), saveRenewals(db, made)])
  if (isForeign) {
    for (const { snapshot, summary } of made) {
      const after = revisions.get(summary.id) ?? 0
      if (snapshot !== undefined) db.previews.tell(summary.id, { after, snapshot, summary })
    }
  }
  await saved
}
