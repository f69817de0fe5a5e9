/**
 * Who is logged in on this device. The access token lives in memory alone and is renewed silently with the
 * HttpOnly refresh cookie; local data opens without either.
 */
import { shallowReactive } from 'vue'
import { AccountRegistry, type KnownAccount } from '../local/accounts'
import { AccountDatabase, type Environment } from '../local/database'
import { adoptDevice } from '../local/outbox'
import { noteServer } from '../local/log'
import { beginUnread } from '../local/seen'
import { rebuildSummaries } from '../local/summaries'
import { hasCode, ProblemError } from '../protocol/errors'
import type { Login, PasswordChange, Registration, Session as SessionBody } from '../protocol/generated'
import { makeKey, type OwnKey } from '../local/deviceKey'
import { SYNC_AUDIENCE } from '../protocol/tokens'
import { call, type Fetch } from './http'
import { KeyRing } from './keyRing'
import type { Tabs } from './tabs'

/** A token is renewed when this much of its life is left, s. */
const RENEW_BEFORE_S = 300

export interface SessionState {
  account: KnownAccount | null
  /** The server has ended the login; a password is needed. */
  ended: boolean
  /** Made the server's first account, and may invite others. Known once a token is fetched. */
  isOwner: boolean
  /** This browser can check who has signed a token. Nodes and server check them in any case. */
  canVerify: boolean
  /** How often this tab has changed the password: who is logged in elsewhere is another question since. */
  passwordChanges: number
}

export interface SessionOptions {
  fetcher: Fetch
  origin: string
  registry: AccountRegistry
  environment: Environment
  tabs: Tabs
}

export class Session {
  readonly state: SessionState
  /** The device that this login is, once a token is known. */
  deviceId: string | null = null
  private accessToken: { text: string; expiresAt: number } | null = null
  private renewal: Promise<string> | null = null
  private keyRing: KeyRing

  constructor(private readonly options: SessionOptions) {
    this.state = shallowReactive({
      account: options.registry.current(),
      isOwner: false,
      ended: false,
      canVerify: true,
      passwordChanges: 0,
    })
    this.keyRing = this.ringOf(this.state.account?.accountId ?? '')
  }

  /** What the tokens of the account in use are held to. */
  get keys(): KeyRing {
    return this.keyRing
  }

  async register(body: Registration): Promise<void> {
    await this.begin('register', body)
  }

  /** Logs in; this device stays the device that it was if its data is still here. */
  async login(body: Login): Promise<void> {
    const deviceId = await this.previousDevice(body.username)
    await this.begin('login', deviceId === null ? body : { ...body, device_id: deviceId })
  }

  /** Replaces the password; every other browser is disconnected. */
  async changePassword(body: PasswordChange): Promise<void> {
    const headers = { Authorization: `Bearer ${await this.token()}` }
    await call(this.options.fetcher, this.url('password'), { method: 'POST', body, headers })
    this.state.passwordChanges += 1
  }

  /** Ends the login. Without a network the cookie stays until it runs out, but this device no longer uses it. */
  async logout(): Promise<void> {
    try {
      await call(this.options.fetcher, this.url('logout'), { method: 'POST' })
    } catch (error) {
      if (!hasCode(error, 'offline', 'login_ended', 'token_missing', 'token_invalid')) throw error
    }
    this.forgetLogin()
    this.options.registry.leave()
    this.state.account = null
  }

  /** Another tab has logged in or out. */
  follow(): void {
    this.forgetLogin()
    const account = this.options.registry.current()
    if (account?.accountId !== this.state.account?.accountId) this.keyRing = this.ringOf(account?.accountId ?? '')
    this.state.account = account
  }

  /** Returns an access token. Throws ProblemError: `login_ended`, or `offline`. */
  async token(): Promise<string> {
    const token = this.accessToken
    if (token !== null && token.expiresAt - RENEW_BEFORE_S > this.options.environment.now() / 1000) return token.text
    if (this.state.ended) throw new ProblemError('login_ended')
    // Refresh tokens are single use: one renewal at a time, in this tab and across tabs.
    this.renewal ??= this.options.tabs
      .exclusively('domovoi-refresh', () => this.renew())
      .finally(() => {
        this.renewal = null
      })
    return this.renewal
  }

  forgetToken(): void {
    this.accessToken = null
  }

  /** The server said that this login is over. */
  end(): void {
    this.accessToken = null
    this.state.ended = true
  }

  private async renew(): Promise<string> {
    try {
      const session = (await call(this.options.fetcher, this.url('refresh'), { method: 'POST' })) as SessionBody
      if (session.account_id !== this.state.account?.accountId) throw new ProblemError('login_ended')
      this.keyRing.noteServerTime(session.server_ms)
      await this.keyRing.keepFresh()
      // A server with other keys than the one that was met: whoever trusts it says so by the password.
      const verdict = await this.keyRing.check(session.access_token, SYNC_AUDIENCE, session.device_id)
      if (verdict === 'foreign') throw new ProblemError('login_ended')
      return this.keep(session)
    } catch (error) {
      if (hasCode(error, 'login_ended', 'token_missing', 'token_invalid', 'token_expired', 'device_revoked')) {
        this.end()
        throw new ProblemError('login_ended')
      }
      throw error
    }
  }

  private async begin(action: 'login' | 'register', body: Login | Registration): Promise<void> {
    const key = await makeKey()
    const named = { ...body, device_key: key?.publicKey ?? null }
    const session = (await call(this.options.fetcher, this.url(action), {
      method: 'POST',
      body: named,
    })) as SessionBody
    const db = await openAccount(session.account_id, this.options.environment)
    try {
      await adoptDevice(db, session.device_id)
      await keepKey(db, key)
      if ((await db.getMeta('logins')) === undefined) {
        await db.putMeta('logins', { fromMs: session.server_ms, seen: {}, open: [] })
      }
      await noteServer(db, session.server_ms, false)
    } finally {
      db.close()
    }
    this.keyRing = this.ringOf(session.account_id)
    this.keyRing.noteServerTime(session.server_ms)
    await this.keyRing.pin()
    const account = { accountId: session.account_id, username: session.username }
    this.options.registry.use(account, this.options.environment.now())
    this.keep(session)
    this.state.ended = false
    if (this.state.account?.accountId !== account.accountId) this.state.account = account
  }

  /** Who it is next, and as which device, only the next token says. */
  private forgetLogin(): void {
    this.accessToken = null
    this.deviceId = null
    this.state.isOwner = false
    this.state.ended = false
  }

  private keep(session: SessionBody): string {
    this.accessToken = { text: session.access_token, expiresAt: session.expires_at }
    this.state.isOwner = session.is_owner ?? false
    this.deviceId = session.device_id
    return session.access_token
  }

  private ringOf(accountId: string): KeyRing {
    const { fetcher, origin, registry, environment } = this.options
    const onUnable = () => {
      this.state.canVerify = false
    }
    return new KeyRing({ fetcher, origin, registry, accountId, now: environment.now, onUnable })
  }

  private async previousDevice(username: string): Promise<string | null> {
    const account = this.options.registry.byUsername(username)
    if (account === null) return null
    const db = await openAccount(account.accountId, this.options.environment)
    try {
      const device = await db.getMeta('device')
      return device === undefined || device.isForked ? null : device.id
    } finally {
      db.close()
    }
  }

  private url(action: string): string {
    return `${this.options.origin}/api/v1/auth/${action}`
  }
}

/** Keeps the key of a login. Tokens of an earlier one name another key, so they go. */
async function keepKey(db: AccountDatabase, key: OwnKey | null): Promise<void> {
  await db.metaTransaction(async () => {
    await db.putMeta('nodeTokens', {})
    await db.putMeta('deviceKey', key)
  })
}

/**
 * Opens an account's data, ready to be read. Waits while a window of an older version holds it; throws
 * SupersededError when a newer version of the app has been here.
 */
export async function openAccount(accountId: string, environment: Environment): Promise<AccountDatabase> {
  const db = new AccountDatabase(accountId, environment)
  await db.openCurrent()
  await rebuildSummaries(db)
  await beginUnread(db)
  return db
}
