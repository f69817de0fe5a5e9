/**
 * Reading everything anew (L19-L21): what the server gives out is merged as ever, and what it did not give is settled
 * when all has been read. A reading that is cut begins again, because what it has seen is kept in memory alone.
 */
import { compareBytes, equalBytes } from '../protocol/bytes'
import { cellKey, type StoredChange } from '../protocol/change'
import { Digester } from '../protocol/digest'
import type { Change, Digest, PulledChange } from '../protocol/generated'
import { isPurge } from '../protocol/merge'
import type { AccountDatabase } from './database'
import { allEntities, entityPages, type Entity } from './entities'
import { beginAnew, needsBootstrap, readOwnLog, readSync, storeForeign } from './log'
import { saveTouched } from './saving'
import { allWaiting, packRows, type WaitingChange } from './outboxRows'

/** Comparing hashes every cell, so it is not done at every turn. */
const COMPARE_EVERY_MS = 86_400_000

export class Rereading {
  /** The clock of each cell that the server gave out, by cell. */
  private readonly received = new Map<string, Uint8Array>()

  private constructor(
    private readonly db: AccountDatabase,
    /** The greatest clock that was known here when the reading began: what is written meanwhile is greater. */
    private readonly startClock: Uint8Array,
    /** What waited in the outbox then, by clock: it may be acknowledged meanwhile. */
    private readonly waiting: ReadonlySet<string>,
  ) {}

  static async begin(db: AccountDatabase): Promise<Rereading> {
    return db.outboxReading(async () => {
      const [{ clock }, waiting] = await Promise.all([readOwnLog(db), allWaiting(db)])
      return new Rereading(db, clock, new Set(waiting.map(({ change }) => change[0].join())))
    })
  }

  /** Merges a page. */
  async take(changes: readonly PulledChange[], epoch: number): Promise<void> {
    for (const change of changes) this.received.set(cellKey(change), change[0])
    await this.db.pullTransaction(() => storeForeign(this.db, changes, (sync) => ({ ...sync, epoch })))
  }

  /** All has been read up to `head`: offers what the server lacks and drops what it has let go of. */
  async settle(head: number): Promise<void> {
    await this.db.logTransaction(async () => {
      const sync = await readSync(this.db)
      const offered: StoredChange[] = []
      const touched: Entity[] = []
      for (const entity of await allEntities(this.db)) {
        const { kept, missing } = this.compare(entity, sync.reread === 'history')
        offered.push(...missing)
        if (kept.length === Object.keys(entity.fields).length) continue
        touched.push({ ...entity, fields: Object.fromEntries(kept.map((cell) => [cell[3], cell])) })
      }
      await this.offer(offered)
      await this.save(touched)
      await this.db.putMeta('sync', { ...sync, cursor: head, bootstrap: null, reread: null })
      await this.db.putMeta('comparedAt', this.db.environment.now())
    })
  }

  /** Returns the cells of an entity that stay, and those of them that the server does not have. */
  private compare({ fields }: Entity, isOtherHistory: boolean) {
    const kept: StoredChange[] = []
    const missing: StoredChange[] = []
    for (const cell of Object.values(fields)) {
      const received = this.received.get(cellKey(cell))
      const isThere = received !== undefined && equalBytes(received, cell[0])
      const isOnItsWay = compareBytes(cell[0], this.startClock) > 0 || this.waiting.has(cell[0].join())
      if (isThere || isOnItsWay) {
        kept.push(cell)
      } else if (isOtherHistory || received !== undefined) {
        // What the server gave out once and has older now, it has lost.
        kept.push(cell)
        missing.push(cell)
      } else if (isPurge(cell)) {
        // The server lets go of tombstones, and what they say is true for ever.
        kept.push(cell)
      }
    }
    return { kept, missing }
  }

  /** Puts changes into the outbox with their old clocks, so that no order changes (L21). */
  private async offer(cells: readonly StoredChange[]): Promise<void> {
    const log = await readOwnLog(this.db)
    const offers = cells.map((cell, index): WaitingChange => {
      return { dseq: log.nextDseq + index, change: cell.slice(0, 7) as Change, isOffer: true }
    })
    await this.db.outbox.bulkAdd(packRows(offers))
    await this.db.putMeta('ownLog', { ...log, nextDseq: log.nextDseq + offers.length })
  }

  private async save(touched: readonly Entity[]): Promise<void> {
    const scopes = [...new Set(touched.map(({ scope }) => scope))]
    const summaries = await this.db.summary.bulkGet(scopes)
    await saveTouched(this.db, touched, new Map(scopes.map((scope, index) => [scope, summaries[index]?.revision ?? 0])))
  }
}

/** Where this device stands; null while something waits to be pushed or everything is read anew. */
async function standing(db: AccountDatabase): Promise<Standing | null> {
  return db.outboxReading(async () => {
    const [sync, { clock }, waiting, tidyings = 0] = await Promise.all([
      readSync(db),
      readOwnLog(db),
      db.outbox.count(),
      db.getMeta('tidyings'),
    ])
    return waiting > 0 || needsBootstrap(sync) ? null : { epoch: sync.epoch, cursor: sync.cursor, clock, tidyings }
  })
}

interface Standing {
  epoch: number | null
  cursor: number
  clock: Uint8Array
  tidyings: number
}

/** Says whether the cells should be compared with the server's now. */
export async function isComparisonDue(db: AccountDatabase): Promise<boolean> {
  const comparedAt = (await db.getMeta('comparedAt')) ?? 0
  return db.environment.now() - comparedAt > COMPARE_EVERY_MS && (await db.outbox.count()) === 0
}

/**
 * Compares what is here with the server's digest (L20); a difference is a silent gap, and everything is read anew.
 * While something waits to be pushed, or the log moves on meanwhile, nothing can be said.
 */
export async function compare(db: AccountDatabase, theirs: Digest): Promise<void> {
  const before = await standing(db)
  if (before === null || before.epoch !== theirs.epoch || before.cursor !== theirs.head) return
  const ours = new Digester()
  for await (const entities of entityPages(db)) ours.add(entities.flatMap(({ fields }) => Object.values(fields)))
  const after = await standing(db)
  if (after?.cursor !== before.cursor || after.tidyings !== before.tidyings) return
  if (!equalBytes(after.clock, before.clock)) return
  await db.putMeta('comparedAt', db.environment.now())
  if (ours.count === theirs.count && equalBytes(ours.digest, theirs.digest)) return
  console.warn('Something of the account is missing on this device: everything is read anew.')
  await beginAnew(db, 'gap')
}
