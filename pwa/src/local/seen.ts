/** Which answers a person has seen on this device. Kept apart from the log: another device's screen is another's. */
import { limits } from '../protocol/generated'
import type { AccountDatabase } from './database'

/** Notes that the answer asked for at `answeredAt`, ms since 1970, has been on the screen. */
export async function noteSeen(db: AccountDatabase, conversation: string, answeredAt: number): Promise<void> {
  await db.transaction('rw', db.seen, async () => {
    const before = (await db.seen.get(conversation))?.answeredAt ?? 0
    if (answeredAt > before) await db.seen.put({ conversation, answeredAt })
  })
}

/**
 * From the first time on that this device opens the account, answers can be unread; a minute earlier, because clocks in
 * the log are of the server's time, which is not known yet.
 */
export async function beginUnread(db: AccountDatabase): Promise<void> {
  if ((await db.getMeta('unreadFrom')) === undefined)
    await db.putMeta('unreadFrom', db.environment.now() - limits.MAX_CLOCK_AHEAD_MS)
}
