/** A sync server in memory, by the rules of SPEC.md; tests of the real one stand in tests/end_to_end. */
import { decode, encode } from '@msgpack/msgpack'
import { equalBytes, toHex } from '../../src/protocol/bytes'
import { FIRST_HASH, foldHashes } from '../../src/protocol/canonical'
import { cellKey } from '../../src/protocol/change'
import { millisecondsOf } from '../../src/protocol/clock'
import {
  EntityType,
  type Bootstrapped,
  type Digest,
  type Change,
  type Node,
  type Problem,
  type PulledChange,
  type Push,
  type Pushed,
} from '../../src/protocol/generated'
import { Digester } from '../../src/protocol/digest'
import { isPurge, tombstoneKey, wins } from '../../src/protocol/merge'
import { EventStreams } from './eventStreams'
import { FakePairing } from './fakePairing'
import { packSegment } from './packSegment'

export const ACCOUNT = 'ac'.repeat(16)

interface Device {
  lastDseq: number
  lastHash: Uint8Array
}

export class FakeServer {
  isUp = true
  isLoggedIn = true
  epoch = 1
  /** How far this server's clock is from the devices'. */
  aheadMs = 0
  nodes: Node[] = []
  refuse: string | null = null
  readonly cells = new Map<string, PulledChange>()
  readonly streams = new EventStreams()
  readonly pairing = new FakePairing()
  pushes = 0
  /** How many cells a page of the state holds. */
  bootstrapCells = 10
  /** Where each of those that were read began. */
  readonly bootstraps: (string | null)[] = []
  /** Told after each push. */
  onPushed: () => void = () => undefined
  private readonly devices = new Map<string, Device>()
  private deviceCount = 0
  private head = 0
  private floor = 0
  /** Tombstones that are gone. */
  private readonly over = new Set<string>()

  get ms(): number {
    return Date.now() + this.aheadMs
  }

  /** Answers a call, or throws as fetch does when nothing answers. */
  async handle(path: string, init: RequestInit): Promise<Response> {
    if (!this.isUp) throw new TypeError('fetch failed')
    const [route = '', query = ''] = path.split('?')
    const sent = init.body instanceof Blob ? await init.body.arrayBuffer() : (init.body as Uint8Array | undefined)
    const body = sent ? decode(sent) : undefined
    switch (route) {
      case '/healthz':
        return reply({})
      case '/api/v1/auth/register':
      case '/api/v1/auth/login':
        this.isLoggedIn = true
        return this.session((body as { device_id?: string }).device_id)
      case '/api/v1/auth/refresh':
        return this.isLoggedIn
          ? this.session(new Headers(init.headers).get('Cookie') ?? undefined)
          : problem(401, 'login_ended')
      case '/api/v1/auth/logout':
        this.isLoggedIn = false
        return new Response(null, { status: 204 })
      case '/api/v1/auth/token':
        return reply({ access_token: 'node-token', expires_at: this.ms / 1000 + 86_400 })
    }
    const device = new Headers(init.headers).get('Authorization')?.replace('Bearer ', '') ?? ''
    if (!this.isLoggedIn || !this.devices.has(device)) return problem(401, 'login_ended')
    if (route === '/api/v1/nodes') return reply({ nodes: this.nodes })
    const paired = this.pairing.handle(route, init.method ?? 'GET', body, this.ms)
    if (paired !== null) return typeof paired === 'string' ? problem(403, paired) : reply(paired)
    if (route === '/api/v1/sync/push') {
      const answer = this.push(device, body as Push)
      this.onPushed()
      return answer
    }
    if (route === '/api/v1/sync/pull') return this.pull(new URLSearchParams(query))
    if (route === '/api/v1/sync/digest') {
      const { count, digest } = new Digester().add(this.cells.values())
      return reply({ epoch: this.epoch, head: this.head, count, digest, server_ms: this.ms } satisfies Digest)
    }
    if (route === '/api/v1/sync/bootstrap') return this.bootstrap(new URLSearchParams(query), null)
    const scope = /^\/api\/v1\/sync\/scopes\/(\w+)$/.exec(route)?.[1]
    if (scope !== undefined) return this.bootstrap(new URLSearchParams(query), scope)
    if (route === '/api/v1/events') return this.events(init.signal ?? undefined)
    return problem(404, 'not_found')
  }

  /** Stores changes of a node or another device and tells everybody. */
  store(changes: readonly Change[]): void {
    const previous = this.head
    for (const change of changes) {
      if ((this.isOver(change[4]) && !isPurge(change)) || !wins(change, this.cells.get(cellKey(change)))) continue
      if (isPurge(change)) {
        for (const [key, cell] of this.cells) if (equalBytes(cell[4], change[4])) this.cells.delete(key)
      }
      this.head += 1
      this.cells.set(cellKey(change), [...change, this.head])
    }
    if (this.head > previous) this.streams.send('log', { epoch: this.epoch, prev_head: previous, head: this.head })
  }

  /** Returns a server that has what this one has now, and goes its own way. */
  copy(): FakeServer {
    const copied = new FakeServer()
    Object.assign(copied, { epoch: this.epoch, deviceCount: this.deviceCount, head: this.head, floor: this.floor })
    for (const [key, cell] of this.cells) copied.cells.set(key, cell)
    for (const [id, device] of this.devices) copied.devices.set(id, { ...device })
    for (const key of this.over) copied.over.add(key)
    return copied
  }

  /** Lets go of the tombstones: a cursor below the head is too old from now on (L19). */
  trim(): void {
    for (const [key, cell] of this.cells) {
      if (!isPurge(cell)) continue
      this.cells.delete(key)
      this.over.add(key)
    }
    this.floor = this.head
  }

  /** Begins a new history with the first `seq` of this one's changes, as after a restored backup (L21). */
  restore(head: number): void {
    for (const [key, cell] of this.cells) if (cell[7] > head) this.cells.delete(key)
    this.head = head
    this.epoch += 1
    for (const device of this.devices.values()) Object.assign(device, { lastDseq: 0, lastHash: FIRST_HASH })
  }

  setNodes(nodes: Node[]): void {
    this.nodes = nodes
    this.streams.send('presence', { nodes })
  }

  /** The process is gone, and every stream with it. */
  stop(): void {
    this.isUp = false
    this.streams.cut()
  }

  values(eid: string): Map<number, unknown> {
    const cells = [...this.cells.values()].filter((cell) => toHex(cell[2]) === eid)
    return new Map(cells.map((cell) => [cell[3], decode(cell[6])]))
  }

  private isOver(scope: Uint8Array): boolean {
    return this.over.has(tombstoneKey(scope)) || this.cells.has(tombstoneKey(scope))
  }

  private session(deviceId?: string): Response {
    const id = deviceId !== undefined && this.devices.has(deviceId) ? deviceId : this.addDevice()
    const expires_at = this.ms / 1000 + 86_400
    return reply({
      access_token: id,
      device_id: id,
      account_id: ACCOUNT,
      username: 'anna',
      expires_at,
      server_ms: this.ms,
    })
  }

  /** Makes a device, and returns its id. */
  addDevice(): string {
    this.deviceCount += 1
    const id = this.deviceCount.toString(16).padStart(16, '0')
    this.devices.set(id, { lastDseq: 0, lastHash: FIRST_HASH })
    return id
  }

  private push(id: string, push: Push): Response {
    this.pushes += 1
    if (this.refuse !== null) return problem(507, this.refuse)
    if (push.epoch !== this.epoch) return problem(410, 'epoch_changed')
    const device = this.devices.get(id) ?? { lastDseq: 0, lastHash: FIRST_HASH }
    if (push.first_dseq > device.lastDseq + 1) return problem(409, 'sequence_gap', { last_dseq: device.lastDseq })
    const hashes = [push.prev_hash, ...foldHashes(push.prev_hash, push.first_dseq, push.changes)]
    const held = hashes[device.lastDseq - push.first_dseq + 1]
    if (held === undefined || !equalBytes(held, device.lastHash)) {
      return problem(409, 'device_forked', { last_dseq: device.lastDseq })
    }
    const fresh = push.changes.slice(device.lastDseq - push.first_dseq + 1)
    const ahead = fresh.findIndex(([clk]) => millisecondsOf(clk) > this.ms + 60_000)
    const taken = ahead < 0 ? fresh : fresh.slice(0, ahead)
    const prev_head = this.head
    this.store(taken)
    device.lastDseq += taken.length
    device.lastHash = hashes[device.lastDseq - push.first_dseq + 1] ?? device.lastHash
    if (ahead === 0) {
      return problem(409, 'clock_ahead', { acked_dseq: device.lastDseq, server_ms: this.ms })
    }
    const rejected = ahead < 0 ? [] : [{ dseq: device.lastDseq + 1, code: 'clock_ahead' }]
    const purged = taken.map((change) => change[4]).filter((scope) => this.isOver(scope))
    return reply({
      acked_dseq: device.lastDseq,
      head: this.head,
      server_ms: this.ms,
      rejected,
      purged,
      prev_head,
    } satisfies Pushed)
  }

  private pull(query: URLSearchParams): Response {
    const epoch = query.get('epoch')
    if (epoch !== null && Number(epoch) !== this.epoch) return problem(410, 'epoch_changed')
    const since = Number(query.get('since'))
    if (since > 0 && since < this.floor) return problem(410, 'history_trimmed')
    const rows = [...this.cells.values()].filter((cell) => cell[7] > since).sort((left, right) => left[7] - right[7])
    const changes = rows.slice(0, 10)
    return reply({ epoch: this.epoch, head: this.head, changes, more: rows.length > 10, server_ms: this.ms })
  }

  /** Pages in the order of keys from the end, conversations first (L16). The token names the last cell. */
  private bootstrap(query: URLSearchParams, scope: string | null): Response {
    const [epoch = '', head = '', last = ''] = (query.get('after') ?? '').split(':')
    if (last !== '' && Number(epoch) !== this.epoch) return problem(410, 'epoch_changed')
    const orderOf = (cell: PulledChange) => {
      const isListed = cell[1] === EntityType.CONVERSATION || cell[1] === EntityType.SETTING
      return `${isListed ? 'b' : 'a'}${toHex(cell[4])}${toHex(cell[2])}${String(cell[3]).padStart(5, '0')}`
    }
    const rows = [...this.cells.values()]
      .filter((cell) => scope === null || toHex(cell[4]) === scope)
      .filter((cell) => last === '' || orderOf(cell) < last)
      .sort((left, right) => (orderOf(left) < orderOf(right) ? 1 : -1))
    const changes = rows.slice(0, this.bootstrapCells)
    const end = changes.at(-1)
    const seen = last === '' ? this.head : Number(head)
    this.bootstraps.push(query.get('after'))
    const after =
      rows.length > changes.length && end !== undefined ? `${String(this.epoch)}:${String(seen)}:${orderOf(end)}` : null
    const place = { epoch: this.epoch, head: seen, after, server_ms: this.ms }
    const isPacked = query.get('packed') === '1' && changes.every(([, etype]) => etype === EntityType.MESSAGE)
    if (!isPacked) return reply({ ...place, changes } satisfies Bootstrapped)
    const scopes = [...new Set(changes.map((cell) => toHex(cell[4])))]
    const segments = scopes.map((of) => packSegment(changes.filter((cell) => toHex(cell[4]) === of)))
    return reply({ ...place, changes: [], segments } satisfies Bootstrapped)
  }

  private events(signal: AbortSignal | undefined): Response {
    return this.streams.open(signal, [
      { event: 'hello', data: { epoch: this.epoch, head: this.head, server_ms: this.ms } },
    ])
  }
}

export function reply(body: object): Response {
  return new Response(encode(body), { headers: { 'Content-Type': 'application/msgpack' } })
}

export function problem(status: number, code: string, extra: Partial<Problem> = {}): Response {
  const body: Problem = { type: `urn:domovoi:problem:${code}`, title: code, status, code, detail: code, ...extra }
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/problem+json' } })
}
