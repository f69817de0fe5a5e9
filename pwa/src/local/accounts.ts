/** Which accounts have data on this device, and which one is in use. Small and wanted before any database is open. */

export interface KnownAccount {
  accountId: string
  username: string
}

/** What the server's tokens are held to: its root key, pinned, and the newest keys that it has signed (rule K12). */
export interface PinnedKeys {
  /** Base64url. */
  root: string
  signed: string
  /** The server's time less this device's, as it was last heard, ms. */
  aheadMs: number
}

const CURRENT_KEY = 'domovoi.account'
const ALL_KEY = 'domovoi.accounts'
const KEYS_KEY = 'domovoi.keys.'

export class AccountRegistry {
  constructor(private readonly storage: Storage) {}

  /** The account in use, if a person has logged in and not logged out. */
  current(): KnownAccount | null {
    const id = this.currentId()
    return this.all().find((account) => account.accountId === id) ?? null
  }

  byUsername(username: string): KnownAccount | null {
    return this.all().find((account) => account.username === username) ?? null
  }

  /** Notes a login at `nowMs`, which other tabs hear of even when it is the same account again. */
  use(account: KnownAccount, nowMs: number): void {
    const others = this.all().filter((other) => other.accountId !== account.accountId)
    this.storage.setItem(ALL_KEY, JSON.stringify([...others, account]))
    this.storage.setItem(CURRENT_KEY, `${account.accountId} ${String(nowMs)}`)
  }

  /** Ends the use of the current account; its data stays for the next login. */
  leave(): void {
    this.storage.removeItem(CURRENT_KEY)
  }

  keys(accountId: string): PinnedKeys | null {
    const text = this.storage.getItem(KEYS_KEY + accountId)
    return text === null ? null : (JSON.parse(text) as PinnedKeys)
  }

  keepKeys(accountId: string, keys: PinnedKeys): void {
    this.storage.setItem(KEYS_KEY + accountId, JSON.stringify(keys))
  }

  forget(accountId: string): void {
    this.storage.removeItem(KEYS_KEY + accountId)
    this.storage.setItem(ALL_KEY, JSON.stringify(this.all().filter((other) => other.accountId !== accountId)))
    if (this.currentId() === accountId) this.leave()
  }

  /** Calls `changed` when another tab logs in or out; returns the function that ends this. */
  watch(changed: () => void): () => void {
    const listener = (event: StorageEvent) => {
      if (event.key === CURRENT_KEY) changed()
    }
    addEventListener('storage', listener)
    return () => {
      removeEventListener('storage', listener)
    }
  }

  private currentId(): string | undefined {
    return this.storage.getItem(CURRENT_KEY)?.split(' ')[0]
  }

  private all(): KnownAccount[] {
    const text = this.storage.getItem(ALL_KEY)
    return text === null ? [] : (JSON.parse(text) as KnownAccount[])
  }
}
