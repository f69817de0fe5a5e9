/** The sync server, spoken to as this device: every call carries a fresh access token. */
import { hasCode, ProblemError } from '../protocol/errors'
import type {
  AccessToken,
  Bootstrapped,
  Device,
  Devices,
  Digest,
  Invitation,
  Invitations,
  ManagerChange,
  NewInvitation,
  Node,
  NodePeople,
  NodePerson,
  Nodes,
  Pairing,
  PairingCode,
  Pulled,
  Push,
  Pushed,
} from '../protocol/generated'
import { readEvents, type StreamRequest } from './eventStream'
import { call, type Call, type Fetch } from './http'
import type { KeyRing } from './keyRing'
import type { Session } from './session'

const HEALTH_TIMEOUT_MS = 3_000
const PAIRING = '/api/v1/pairing'

export class Server {
  constructor(
    private readonly session: Session,
    private readonly fetcher: Fetch,
    /** '' for the origin of the page. */
    readonly origin: string,
  ) {}

  /** As which device calls are made; null before the first one. */
  get deviceId(): string | null {
    return this.session.deviceId
  }

  /** What tokens are held to. */
  get keys(): KeyRing {
    return this.session.keys
  }

  /** Sends a push, or `body`, which is the same as bytes. */
  async push(push: Push, signal: AbortSignal, body: object = push): Promise<Pushed> {
    return (await this.authorized('/api/v1/sync/push', { method: 'POST', body, signal })) as Pushed
  }

  async pull(since: number, epoch: number | null, signal: AbortSignal): Promise<Pulled> {
    const query = new URLSearchParams({ since: String(since) })
    if (epoch !== null) query.set('epoch', String(epoch))
    return (await this.authorized(`/api/v1/sync/pull?${query.toString()}`, { signal })) as Pulled
  }

  /** Reads a page of the account's state, or of one conversation's, from where the page before said. */
  async bootstrap(after: string | null, signal: AbortSignal, scope?: string): Promise<Bootstrapped> {
    const path = scope === undefined ? 'bootstrap' : `scopes/${scope}`
    const query = new URLSearchParams({
      ...(scope === undefined ? { packed: '1' } : {}),
      ...(after === null ? {} : { after }),
    })
    return (await this.authorized(`/api/v1/sync/${path}?${query.toString()}`, { signal })) as Bootstrapped
  }

  /** Returns what the server's cells fold to (L20). */
  async digest(signal: AbortSignal): Promise<Digest> {
    return (await this.authorized('/api/v1/sync/digest', { signal })) as Digest
  }

  async nodes(signal: AbortSignal): Promise<Node[]> {
    return ((await this.authorized('/api/v1/nodes', { signal })) as Nodes).nodes
  }

  /** Returns the account's devices, oldest first: browsers and PCs. */
  async devices(): Promise<Device[]> {
    return ((await this.authorized('/api/v1/devices', {})) as Devices).devices
  }

  async renameDevice(id: string, name: string): Promise<void> {
    await this.authorized(`/api/v1/devices/${id}`, { method: 'PATCH', body: { name } })
  }

  /** Ends the device's login and all that it holds open, here and at the PCs. */
  async revokeDevice(id: string): Promise<void> {
    await this.authorized(`/api/v1/devices/${id}`, { method: 'DELETE' })
  }

  /** Returns what the server's owner has made, newest first. Throws ProblemError `owner_only` for anybody else. */
  async invitations(): Promise<Invitation[]> {
    return ((await this.authorized('/api/v1/invitations', {})) as Invitations).invitations
  }

  async invite(): Promise<NewInvitation> {
    return (await this.authorized('/api/v1/invitations', { method: 'POST' })) as NewInvitation
  }

  async takeInvitationBack(id: string): Promise<void> {
    await this.authorized(`/api/v1/invitations/${id}`, { method: 'DELETE' })
  }

  /** Returns a code with which one PC can join, for the password. */
  async beginPairing(password: string): Promise<PairingCode> {
    return (await this.authorized(PAIRING, { method: 'POST', body: { password } })) as PairingCode
  }

  async pairing(id: string): Promise<Pairing> {
    return (await this.authorized(`${PAIRING}/${id}`, {})) as Pairing
  }

  /** Lets the PC in that shows these six digits. */
  async confirmPairing(id: string, check: string): Promise<Pairing> {
    return (await this.authorized(`${PAIRING}/${id}/confirm`, { method: 'POST', body: { check } })) as Pairing
  }

  async withdrawPairing(id: string): Promise<void> {
    await this.authorized(`${PAIRING}/${id}`, { method: 'DELETE' })
  }

  /** Ends what a PC may do for this account, and all that is open there. */
  async unpairNode(id: string): Promise<void> {
    await this.authorized(`/api/v1/nodes/${id}`, { method: 'DELETE' })
  }

  /** Returns who uses a PC: everybody for who manages it, for others themselves and who does. */
  async people(nodeId: string): Promise<NodePerson[]> {
    return ((await this.authorized(`/api/v1/nodes/${nodeId}/people`, {})) as NodePeople).people
  }

  /** Hands the management of a PC to somebody who uses it, or takes it while nobody has it, for the own password. */
  async changeManager(nodeId: string, body: ManagerChange): Promise<void> {
    await this.authorized(`/api/v1/nodes/${nodeId}/manager`, { method: 'POST', body })
  }

  /** Ends what another account may do on a PC that this one manages. */
  async endUse(nodeId: string, accountId: string): Promise<void> {
    await this.authorized(`/api/v1/nodes/${nodeId}/people/${accountId}`, { method: 'DELETE' })
  }

  async nodeToken(nodeId: string): Promise<AccessToken> {
    const body = { audience: `node:${nodeId}` }
    return (await this.authorized('/api/v1/auth/token', { method: 'POST', body })) as AccessToken
  }

  /** Opens the device's one event stream. */
  async *events(signal: AbortSignal): AsyncGenerator<{ event?: string | undefined; data: string }> {
    const headers = await this.authorization()
    const request: StreamRequest = { url: `${this.origin}/api/v1/events`, headers, signal }
    try {
      yield* readEvents(this.fetcher, request)
    } catch (error) {
      if (isTokenProblem(error)) this.session.forgetToken()
      throw error
    }
  }

  /** Returns the round trip in ms. */
  async ping(): Promise<number> {
    const started = performance.now()
    await call(this.fetcher, `${this.origin}/healthz`, { timeoutMs: HEALTH_TIMEOUT_MS })
    return performance.now() - started
  }

  forgetToken(): void {
    this.session.forgetToken()
  }

  async authorization(): Promise<Record<string, string>> {
    return { Authorization: `Bearer ${await this.session.token()}` }
  }

  /** A token may have run out on the way, or its key may have changed: it is renewed once. */
  private async authorized(path: string, options: Call): Promise<unknown> {
    try {
      return await this.once(path, options)
    } catch (error) {
      if (!isTokenProblem(error)) throw error
      this.session.forgetToken()
      return this.once(path, options)
    }
  }

  private async once(path: string, options: Call): Promise<unknown> {
    return call(this.fetcher, `${this.origin}${path}`, { ...options, headers: await this.authorization() })
  }
}

function isTokenProblem(error: unknown): error is ProblemError {
  return hasCode(error, 'token_expired', 'token_invalid')
}
