/**
 * Checks this device's tokens against the server's keys, so that a stale or foreign one is renewed instead of tried (rule
 * K12). The server's root key is pinned when it is first met, and anew only by a login with the password.
 */
import type { AccountRegistry } from '../local/accounts'
import { hasCode, ProblemError } from '../protocol/errors'
import { NoEd25519 } from '../protocol/ed25519'
import type { KeySet } from '../protocol/generated'
import { NotSigned } from '../protocol/jws'
import { hasRunOut, newer, verifyKeySet, type VerifiedKeys } from '../protocol/keySets'
import { keyId, verifyAccess } from '../protocol/tokens'
import { call, type Fetch } from './http'

/** `unchecked`: this browser can't verify, or has never got the keys. */
export type Verdict = 'good' | 'stale' | 'foreign' | 'unchecked'

export interface KeyRingOptions {
  fetcher: Fetch
  origin: string
  registry: AccountRegistry
  accountId: string
  now: () => number
  /** Told once that this browser has no Ed25519. */
  onUnable: () => void
}

const KEYS_TIMEOUT_MS = 3_000
/** A token of an unknown key makes the app ask for keys, but not more often than this, ms. */
const ASK_AGAIN_MS = 5_000
/** The server signs its keys anew each day. */
const FRESH_S = 86_400
const NOTED_FROM_MS = 10_000

export class KeyRing {
  private keys: VerifiedKeys | null = null
  private keysFrom = ''
  private askedAt = -Infinity
  private aheadMs: number
  private isAble = true

  constructor(private readonly options: KeyRingOptions) {
    this.aheadMs = options.registry.keys(options.accountId)?.aheadMs ?? 0
  }

  /** The server's clock decides, and days without it are counted by how far this device's was from it. */
  noteServerTime(serverMs: number): void {
    const { registry, accountId, now } = this.options
    this.aheadMs = serverMs - now()
    const kept = registry.keys(accountId)
    if (kept !== null && Math.abs(kept.aheadMs - this.aheadMs) > NOTED_FROM_MS) {
      registry.keepKeys(accountId, { ...kept, aheadMs: this.aheadMs })
    }
  }

  /** Returns the time, ms since 1970: never before the newest keys were signed, so that a clock set back makes no old token good (K10). */
  async now(): Promise<number> {
    return this.nowS(await this.current()) * 1000
  }

  /** After a login with the password: trusts the root that the server has now. A failure leaves what is there. */
  async pin(): Promise<void> {
    await this.ask(true)
  }

  /** Gets the keys anew once they are a day old, so that a rotation is known before it is met. */
  async keepFresh(): Promise<void> {
    const keys = await this.current()
    if (keys === null || keys.issuedS + FRESH_S < this.nowS(keys)) await this.ask(false)
  }

  /** Says what to think of a token that the server gave. Asks the server for its keys where the token's is unknown. */
  async check(token: string, audience: string, deviceId: string | null): Promise<Verdict> {
    try {
      const keys = await this.keysFor(token)
      if (keys === null || !this.isAble) return 'unchecked'
      if (hasRunOut(keys, this.nowS(keys))) return 'stale'
      const claims = await verifyAccess(token, keys.keys, keys.issuer, audience, this.nowS(keys))
      const isOwn = claims.sub === this.options.accountId && (deviceId === null || claims.did === deviceId)
      return isOwn ? 'good' : 'foreign'
    } catch (error) {
      if (hasCode(error, 'token_expired')) return 'stale'
      if (hasCode(error, 'token_invalid')) return 'foreign'
      this.noteUnable(error)
      return 'unchecked'
    }
  }

  private async keysFor(token: string): Promise<VerifiedKeys | null> {
    const keys = await this.current()
    if (keys?.keys.has(keyId(token)) === true || this.options.now() < this.askedAt + ASK_AGAIN_MS) return keys
    await this.ask(false)
    return this.current()
  }

  private nowS(keys: VerifiedKeys | null): number {
    return Math.max((this.options.now() + this.aheadMs) / 1000, keys?.issuedS ?? 0)
  }

  private async ask(isLogin: boolean): Promise<void> {
    const { fetcher, origin, registry, accountId } = this.options
    this.askedAt = this.options.now()
    try {
      const url = `${origin}/.well-known/jwks.json`
      const published = (await call(fetcher, url, { timeoutMs: KEYS_TIMEOUT_MS })) as KeySet
      const kept = registry.keys(accountId)
      const root = kept !== null && !isLogin ? kept.root : published.root.x
      const offered = await verifyKeySet(published.signed, root)
      // Another tab may have taken a newer one meanwhile.
      const known = kept?.root === root ? await this.current() : null
      if (newer(offered, known) === offered) {
        registry.keepKeys(accountId, { root, signed: published.signed, aheadMs: this.aheadMs })
      }
    } catch (error) {
      if (error instanceof NotSigned) console.warn('what the server says of its keys is refused:', error.message)
      else if (!(error instanceof ProblemError)) this.noteUnable(error)
    }
  }

  /** Returns what is kept, verified once. */
  private async current(): Promise<VerifiedKeys | null> {
    const kept = this.options.registry.keys(this.options.accountId)
    if (kept === null) return null
    if (kept.signed !== this.keysFrom) {
      this.keys = await verifyKeySet(kept.signed, kept.root).catch((error: unknown) => {
        if (!(error instanceof NotSigned)) this.noteUnable(error)
        return null
      })
      this.keysFrom = kept.signed
    }
    return this.keys
  }

  private noteUnable(error: unknown): void {
    if (!(error instanceof NoEd25519)) throw error
    if (this.isAble) this.options.onUnable()
    this.isAble = false
  }
}
