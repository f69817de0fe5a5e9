/** A sync server in memory, by the rules of SPEC.md; tests of the real one stand in tests/end_to_end. */
import { decode, encode } from '@msgpack/msgpack'
import { equalBytes, toHex } from '../../src/protocol/bytes'
import { FIRST_HASH, foldHashes } from '../../src/protocol/canonical'
import { cellKey } from '../../src/protocol/change'
import { millisecondsOf } from '../../src/protocol/clock'
import type { Change, Node, Problem, PulledChange, Push, Pushed } from '../../src/protocol/generated'
import { wins } from '../../src/protocol/merge'
import { EventStreams } from './eventStreams'

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
  pushes = 0
  private readonly devices = new Map<string, Device>()
  private deviceCount = 0
  private head = 0

  get ms(): number {
    return Date.now() + this.aheadMs
  }

  /** Answers a call, or throws as fetch does when nothing answers. */
  handle(path: string, init: RequestInit): Response {
    if (!this.isUp) throw new TypeError('fetch failed')
    const [route = '', query = ''] = path.split('?')
    const body = init.body ? decode(init.body as Uint8Array) : undefined
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
    if (route === '/api/v1/sync/push') return this.push(device, body as Push)
    if (route === '/api/v1/sync/pull') return this.pull(new URLSearchParams(query))
    if (route === '/api/v1/events') return this.events(init.signal ?? undefined)
    return problem(404, 'not_found')
  }

  /** Stores changes of a node or another device and tells everybody. */
  store(changes: readonly Change[]): void {
    const previous = this.head
    for (const change of changes) {
      if (!wins(change, this.cells.get(cellKey(change)))) continue
      this.head += 1
      this.cells.set(cellKey(change), [...change, this.head])
    }
    if (this.head > previous) this.streams.send('log', { epoch: this.epoch, prev_head: previous, head: this.head })
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

  private session(deviceId?: string): Response {
    const id = deviceId !== undefined && this.devices.has(deviceId) ? deviceId : this.newDevice()
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

  private newDevice(): string {
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
    if (held === undefined || !equalBytes(held, device.lastHash)) return problem(409, 'device_forked')
    const fresh = push.changes.slice(device.lastDseq - push.first_dseq + 1)
    const ahead = fresh.findIndex(([clk]) => millisecondsOf(clk) > this.ms + 60_000)
    const taken = ahead < 0 ? fresh : fresh.slice(0, ahead)
    this.store(taken)
    device.lastDseq += taken.length
    device.lastHash = hashes[device.lastDseq - push.first_dseq + 1] ?? device.lastHash
    if (ahead === 0) {
      return problem(409, 'clock_ahead', { acked_dseq: device.lastDseq, server_ms: this.ms })
    }
    const rejected = ahead < 0 ? [] : [{ dseq: device.lastDseq + 1, code: 'clock_ahead' }]
    return reply({ acked_dseq: device.lastDseq, head: this.head, server_ms: this.ms, rejected } satisfies Pushed)
  }

  private pull(query: URLSearchParams): Response {
    const epoch = query.get('epoch')
    if (epoch !== null && Number(epoch) !== this.epoch) return problem(410, 'epoch_changed')
    const since = Number(query.get('since'))
    const rows = [...this.cells.values()].filter((cell) => cell[7] > since).sort((left, right) => left[7] - right[7])
    const changes = rows.slice(0, 10)
    return reply({ epoch: this.epoch, head: this.head, changes, more: rows.length > 10, server_ms: this.ms })
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
