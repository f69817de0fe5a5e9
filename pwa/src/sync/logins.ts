/** Logins on this account's other devices, kept until a person has said of each whether it was theirs. */
import type { AccountDatabase, LoginNotice } from '../local/database'
import type { Device } from '../protocol/generated'
import type { Server } from './server'

export class Logins {
  /** The newest login of those that were looked at. */
  private heardMs: number | null = null

  constructor(
    private readonly db: AccountDatabase,
    private readonly server: Server,
  ) {}

  /**
   * The server says when somebody has last logged in, now or while this device was away. Throws ProblemError where it
   * does not say who: the next stream begins with the same.
   */
  async hear(newestMs: number): Promise<void> {
    const book = (await this.db.getMeta('logins')) ?? { fromMs: newestMs, seen: {}, open: [] }
    const isNews = newestMs > (this.heardMs ?? book.fromMs)
    // One that is waiting may have been disconnected from another device.
    const open = isNews || book.open.length > 0 ? noticesOf(await this.server.devices(), book.fromMs) : []
    await this.db.metaTransaction(async () => {
      const { fromMs, seen } = (await this.db.getMeta('logins')) ?? book
      const unseen = open.filter(({ deviceId, at }) => at > (seen[deviceId] ?? 0))
      await this.db.putMeta('logins', { fromMs, seen, open: unseen })
    })
    this.heardMs = newestMs
  }

  /** Says the login was the person's own, or is over; it is never shown again. */
  async settle(notice: LoginNotice): Promise<void> {
    await this.db.metaTransaction(async () => {
      const book = await this.db.getMeta('logins')
      if (book === undefined) return
      const open = book.open.filter(({ deviceId }) => deviceId !== notice.deviceId)
      await this.db.putMeta('logins', { ...book, seen: { ...book.seen, [notice.deviceId]: notice.at }, open })
    })
  }
}

/** Logins before a device's own are not its business: who logs in knows of them from the list of devices. */
function noticesOf(devices: readonly Device[], fromMs: number): LoginNotice[] {
  return devices
    .filter(({ kind, current, login_ms: at = 0 }) => kind === 'app' && !current && at > fromMs)
    .map(({ device_id: deviceId, name, login_ms: at = 0, login_address: address = null }) => ({
      ...{ deviceId, name, at, address },
    }))
}
