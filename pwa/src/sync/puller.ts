/** Reading the account's log: pages since the cursor, and news that fits it (rules L12-L14). */
import type { AccountDatabase } from '../local/database'
import { applyNews, applyPage, changeEpoch, noteServer, readSync } from '../local/log'
import { hasCode } from '../protocol/errors'
import type { LogNews } from '../protocol/generated'
import type { Server } from './server'

export class Puller {
  constructor(
    private readonly db: AccountDatabase,
    private readonly server: Server,
  ) {}

  /** Pulls until nothing is missing. Throws ProblemError. */
  async pull(signal: AbortSignal): Promise<void> {
    while (await this.pullPage(signal)) signal.throwIfAborted()
  }

  /** Applies news that follows the cursor; any other makes a pull (L13). */
  async take(news: LogNews, signal: AbortSignal): Promise<void> {
    if (!(await applyNews(this.db, news))) await this.pull(signal)
  }

  private async pullPage(signal: AbortSignal): Promise<boolean> {
    const { epoch, cursor } = await readSync(this.db)
    try {
      const page = await this.server.pull(cursor, epoch, signal)
      const end = page.more ? (page.changes.at(-1)?.[7] ?? cursor) : page.head
      await applyPage(this.db, { epoch: page.epoch, since: cursor, cursor: end, changes: page.changes })
      if (!page.more) await noteServer(this.db, page.server_ms, (await this.db.outbox.count()) === 0)
      return page.more
    } catch (error) {
      if (!hasCode(error, 'epoch_changed', 'history_trimmed')) throw error
      await changeEpoch(this.db, null)
      return true
    }
  }
}
