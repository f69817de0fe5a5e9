/** Tokens for nodes, kept in IndexedDB, so that Direct goes on while the server is away. */
import type { AccountDatabase, NodeToken } from '../local/database'
import { hasCode, ProblemError } from '../protocol/errors'
import type { AccessToken, RenewalChallenge } from '../protocol/generated'
import { NoEd25519 } from '../protocol/ed25519'
import { keyRing } from '../protocol/jws'
import { nodeAudience, verifyAccess } from '../protocol/tokens'
import { signRenewal } from '../local/deviceKey'
import { call } from './http'
import type { Verdict } from './keyRing'
import type { Route } from './router'
import type { SealedCalls } from './sealedCalls'
import type { Server } from './server'

/** A token is renewed when less than this is left of its day, so that the server may be away for a while. */
const RENEW_BEFORE_MS = 12 * 3_600_000

export class NodeTokens {
  constructor(
    private readonly db: AccountDatabase,
    private readonly server: Server,
    private readonly calls: Pick<SealedCalls, 'fetcher' | 'nodeKey'>,
  ) {}

  /**
   * Returns a token for the route's node: the server's, or the node's own while the server is away (rule K11).
   * Throws ProblemError.
   */
  async token(route: Route): Promise<string> {
    const kept = (await this.db.getMeta('nodeTokens'))?.[route.nodeId]
    const leftMs = (await this.isTrusted(route.nodeId, kept))
      ? (kept?.expiresAt ?? 0) - (await this.server.keys.now())
      : 0
    if (kept !== undefined && leftMs > RENEW_BEFORE_MS) return kept.token
    try {
      return await this.fromServer(route.nodeId)
    } catch (error) {
      if (kept === undefined || !hasCode(error, 'offline', 'login_ended')) throw error
      if (leftMs > 0) return kept.token
      // Whose login has ended is not to go on by another door.
      if (route.kind !== 'direct' || !hasCode(error, 'offline')) throw error
      return this.renew(route, kept, error)
    }
  }

  /** Takes a token for good no more. What the server gave can still be renewed. */
  async drop(nodeId: string): Promise<void> {
    const fromServer = (await this.db.getMeta('nodeTokens'))?.[nodeId]?.fromServer
    await this.keep(nodeId, { token: '', expiresAt: 0, ...(fromServer === undefined ? {} : { fromServer }) })
  }

  /** Whether somebody would take it (rule K12). */
  private async isTrusted(nodeId: string, kept: NodeToken | undefined): Promise<boolean> {
    if (kept === undefined || kept.token === '') return false
    const isOfServer = kept.token === kept.fromServer
    const verdict = isOfServer ? await this.verdict(nodeId, kept.token) : await this.ownVerdict(nodeId, kept)
    return ['good', 'unchecked'].includes(verdict)
  }

  /** What to think of a token that the node has made for itself alone, signed with the key that its id certifies. */
  private async ownVerdict(nodeId: string, { token, nodeKey }: NodeToken): Promise<Verdict> {
    // It came from this machine itself, in the clear.
    if (nodeKey === undefined) return 'unchecked'
    const [device, now] = [await this.db.getMeta('device'), await this.server.keys.now()]
    try {
      const claims = await verifyAccess(token, keyRing([nodeKey]), nodeId, nodeAudience(nodeId), now / 1000)
      return claims.sub === this.db.accountId && claims.did === device?.id ? 'good' : 'foreign'
    } catch (error) {
      if (error instanceof NoEd25519) return 'unchecked'
      if (hasCode(error, 'token_expired')) return 'stale'
      if (hasCode(error, 'token_invalid')) return 'foreign'
      throw error
    }
  }

  /** Throws ProblemError `token_invalid` for a token that no node of this server's would take. */
  private async fromServer(nodeId: string): Promise<string> {
    const given = await this.server.nodeToken(nodeId)
    if ((await this.verdict(nodeId, given.access_token)) === 'foreign') throw new ProblemError('token_invalid')
    return this.keep(nodeId, { ...asKept(given), fromServer: given.access_token })
  }

  private async verdict(nodeId: string, token: string): Promise<Verdict> {
    const device = await this.db.getMeta('device')
    return this.server.keys.check(token, nodeAudience(nodeId), device?.id ?? null)
  }

  private async renew(route: Route, kept: NodeToken, offline: Error): Promise<string> {
    const key = await this.db.getMeta('deviceKey')
    if (key == null || kept.fromServer === undefined) throw offline
    const url = `${route.base}/v1/renewal`
    const fetcher = this.calls.fetcher(route)
    try {
      const { challenge } = (await call(fetcher, `${url}/challenge`, { method: 'POST' })) as RenewalChallenge
      const signature = await signRenewal(key, route.nodeId, challenge, kept.fromServer)
      const body = { token: kept.fromServer, key: key.publicKey, challenge, signature }
      const renewed = (await call(fetcher, url, { method: 'POST', body })) as AccessToken
      const nodeKey = this.calls.nodeKey(route.nodeId)
      const made = { ...asKept(renewed), fromServer: kept.fromServer, ...(nodeKey === undefined ? {} : { nodeKey }) }
      if (!(await this.isTrusted(route.nodeId, made))) throw new ProblemError('token_invalid')
      return await this.keep(route.nodeId, made)
    } catch (error) {
      // After fourteen days it takes the server again; so it does where the login's key is another one by now.
      throw hasCode(error, 'token_expired', 'token_invalid') ? offline : error
    }
  }

  private async keep(nodeId: string, token: NodeToken): Promise<string> {
    await this.db.metaTransaction(async () => {
      const tokens = (await this.db.getMeta('nodeTokens')) ?? {}
      await this.db.putMeta('nodeTokens', { ...tokens, [nodeId]: token })
    })
    return token.token
  }
}

function asKept({ access_token: token, expires_at: expiresAtS }: AccessToken): NodeToken {
  return { token, expiresAt: expiresAtS * 1000 }
}
