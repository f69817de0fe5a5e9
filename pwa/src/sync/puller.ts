/** Reading the account: its state at first, then pages of the log, and news that fits (rules L12-L14, L16-L21). */
import { applyBootstrap } from '../local/bootstrap'
import type { AccountDatabase, SyncState } from '../local/database'
import { applyAside, applyNews, applyPage, beginAnew, needsBootstrap, noteServer, readSync } from '../local/log'
import { compare, isComparisonDue, Rereading } from '../local/rereading'
import { tidySegments } from '../local/tidying'
import { hasCode, ProblemError } from '../protocol/errors'
import type { Bootstrapped, LogNews } from '../protocol/generated'
import { cellsOf } from '../protocol/segments'
import type { Server } from './server'
import { sleep } from './wait'

/** The answer to a push comes with its news, ms. */
const LANDS_WITHIN_MS = 1_000

export class Puller {
  constructor(
    private readonly db: AccountDatabase,
    private readonly server: Server,
  ) {}

  /** Reads until nothing is missing; calls `onPage` after each page. Throws ProblemError. */
  async pull(signal: AbortSignal, onPage: () => void = () => undefined): Promise<void> {
    do {
      while (await this.readPages(signal, onPage)) signal.throwIfAborted()
    } while (await this.findsGap(signal))
  }

  /** Reads one conversation ahead of the rest, while the account is read for the first time (L17). */
  async pullScope(scope: string, signal: AbortSignal): Promise<void> {
    if (!needsBootstrap(await readSync(this.db))) return
    let after: string | null = null
    do {
      const page: Bootstrapped = await this.server.bootstrap(after, signal, scope)
      await applyAside(this.db, page.changes)
      after = page.after
    } while (after !== null)
  }

  /**
   * Applies news that follows the cursor; any other makes a pull (L13). Before that it waits until what this device
   * pushes has `landed`: its news is faster than its answer, which moves the cursor too. What carries nothing can only
   * be that, or is pulled; so is what lands too late, for an answer that is lost is waited for long.
   */
  async take(news: LogNews, landed: () => Promise<void>, signal: AbortSignal): Promise<void> {
    if (news.changes && (await applyNews(this.db, news))) return
    await Promise.race([landed(), sleep(LANDS_WITHIN_MS, signal)])
    if (!(await applyNews(this.db, news))) await this.pull(signal)
  }

  /** Returns whether there is more to read. */
  private async readPages(signal: AbortSignal, onPage: () => void): Promise<boolean> {
    const sync = await readSync(this.db)
    try {
      // What was purged before the first change that this device has read may have left no trace in the log (L19).
      const isAtStart = sync.cursor === 0 && (sync.bootstrap ?? null) === null
      if (sync.reread || (isAtStart && sync.epoch !== null)) return await this.reread(signal, onPage)
      if (!needsBootstrap(sync)) return await this.pullPage(sync, signal, onPage)
      await this.bootstrap(sync.bootstrap ?? null, signal, onPage)
      return true
    } catch (error) {
      // `bad_request`: another version of the server does not know where a page of ours ended.
      if (!hasCode(error, 'epoch_changed', 'history_trimmed', 'bad_request')) throw error
      if (hasCode(error, 'bad_request') && (sync.bootstrap ?? null) === null) throw error
      await beginAnew(this.db, hasCode(error, 'epoch_changed') ? 'history' : 'gap')
      return true
    }
  }

  /** Stores each page while the next one is on its way. */
  private async bootstrap(from: string | null, signal: AbortSignal, onPage: () => void): Promise<void> {
    let next: Promise<Bootstrapped> | null = this.server.bootstrap(from, signal)
    while (next !== null) {
      const { epoch, head, after, changes, segments = [] }: Bootstrapped = await next
      next = after === null ? null : this.server.bootstrap(after, signal)
      // It is awaited only after the page is stored, and would count as unhandled until then.
      next?.catch(() => undefined)
      if (!(await applyBootstrap(this.db, { epoch, from, after, head, changes, segments }))) return
      onPage()
      from = after
    }
  }

  /** Reads all of the account although there may be something of it here; returns whether there was anything. */
  private async reread(signal: AbortSignal, onPage: () => void): Promise<boolean> {
    const rereading = await Rereading.begin(this.db)
    let page: Bootstrapped | null = null
    while (page === null || page.after !== null) {
      page = await this.server.bootstrap(page?.after ?? null, signal)
      const { epoch } = await readSync(this.db)
      // What is here is of another history than what comes: that is settled first (L21).
      if (epoch !== null && epoch !== page.epoch) throw new ProblemError('epoch_changed')
      await rereading.take(cellsOf(page), page.epoch)
      onPage()
    }
    await rereading.settle(page.head)
    await noteServer(this.db, page.server_ms, (await this.db.outbox.count()) === 0)
    return page.head > 0
  }

  /** Compares what is here with what the server has, now and then (L20). */
  private async findsGap(signal: AbortSignal): Promise<boolean> {
    if (!(await isComparisonDue(this.db))) return false
    await compare(this.db, await this.server.digest(signal))
    await this.tidy()
    return needsBootstrap(await readSync(this.db))
  }

  /** A device without room is tidied another day. */
  private async tidy(): Promise<void> {
    try {
      await tidySegments(this.db)
    } catch (error) {
      if (!hasCode(error, 'device_full')) throw error
    }
  }

  private async pullPage({ epoch, cursor }: SyncState, signal: AbortSignal, onPage: () => void): Promise<boolean> {
    const page = await this.server.pull(cursor, epoch, signal)
    const end = page.more ? (page.changes.at(-1)?.[7] ?? cursor) : page.head
    await applyPage(this.db, { epoch: page.epoch, since: cursor, cursor: end, changes: page.changes })
    if (!page.more) await noteServer(this.db, page.server_ms, (await this.db.outbox.count()) === 0)
    onPage()
    return page.more
  }
}
