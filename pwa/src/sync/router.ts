/** Which way leads to a node now. Reachability is probed, never inferred from `navigator.onLine`. */
import { shallowReactive } from 'vue'
import type { Candidate, Node } from '../protocol/generated'
import { hasCode, ProblemError } from '../protocol/errors'
import { call, type Fetch } from './http'
import { failed, isAlive, score, succeeded, UNMEASURED, type Measurement } from './routes'
import type { Server } from './server'
import { Bell, isRunning } from './wait'

export type RouteKind = 'direct' | 'relay'

export interface Route {
  kind: RouteKind
  nodeId: string
  /** Address before `/v1/…`. */
  base: string
}

/** What /healthz says of an engine that can't answer now. */
const ENGINE_TROUBLE = [
  ...(['engine_unavailable', 'engine_loading', 'engine_failed', 'out_of_memory'] as const),
  ...(['model_missing', 'model_damaged', 'unsupported'] as const),
]

export interface RouterState {
  /** Round trip to the server, ms; null while it does not answer. */
  serverMs: number | null
  /** The best living route of each node, with its round trip in ms. */
  best: ReadonlyMap<string, { route: Route; roundTripMs: number }>
  /** Nodes whose routes have been probed; null before the first round. */
  probed: ReadonlySet<string> | null
}

const PROBE_TIMEOUT_MS = 1_500
const PROBE_EVERY_MS = 15_000
const PROBE_AGAIN_MS = 1_000
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

export interface RouterOptions {
  fetcher: Fetch
  server: Server
  /** Host name of the page: Direct is loopback only until calls are sealed. */
  pageHost: string
  isVisible: () => boolean
}

export class Router {
  readonly state: RouterState = shallowReactive({ serverMs: null, best: new Map(), probed: null })
  private readonly measurements = new Map<string, Measurement>()
  private readonly bell = new Bell()
  private nodes: readonly Node[] = []

  constructor(private readonly options: RouterOptions) {}

  /** Takes a new list of nodes; routes are probed again at once when addresses or presence changed. */
  setNodes(nodes: readonly Node[]): void {
    const fingerprint = (list: readonly Node[]) =>
      JSON.stringify(list.map((node) => [node.node_id, node.awake, node.since_ms, node.status?.candidates]))
    const isNews = fingerprint(nodes) !== fingerprint(this.nodes)
    this.nodes = nodes
    if (isNews) this.probeNow()
  }

  probeNow(): void {
    this.bell.ring()
  }

  /** Returns the best living route to a node, or null. */
  best(nodeId: string): Route | null {
    return this.state.best.get(nodeId)?.route ?? null
  }

  /** A call on this route broke: counts like a failed probe, and the routes are probed again. */
  reportFailure(route: Route): void {
    this.measure(route, null)
    this.choose()
    this.probeNow()
  }

  /** Probes every route now and then until `signal` is aborted. A hidden page probes only when something asks. */
  async run(signal: AbortSignal): Promise<void> {
    while (isRunning(signal)) {
      await this.probeAll()
      let isAsked = await this.bell.wait(this.isUncertain() ? PROBE_AGAIN_MS : PROBE_EVERY_MS, signal)
      while (isRunning(signal) && !isAsked && !this.options.isVisible()) {
        isAsked = await this.bell.wait(PROBE_EVERY_MS, signal)
      }
    }
  }

  /** One failure does not bury a route, but it is looked at again soon. */
  private isUncertain(): boolean {
    return [...this.measurements.values()].some((known) => known.outcomes.at(-1) === false && isAlive(known))
  }

  private async probeAll(): Promise<void> {
    const routes = this.nodes.flatMap((node) => this.routesTo(node))
    await Promise.all([this.probeServer(), ...routes.map((route) => this.probe(route))])
    this.choose()
    this.state.probed = new Set(routes.map((route) => route.nodeId))
  }

  private async probeServer(): Promise<void> {
    this.state.serverMs = await this.options.server.ping().catch(silence)
  }

  private async probe(route: Route): Promise<void> {
    // The first call pays for the connection and its preflight; how far away the node is, the second one tells.
    const isWarm = this.measurements.get(route.base)?.outcomes.at(-1) === true
    if (!isWarm && (await this.callHealth(route).catch(silence)) === null) {
      this.measure(route, null)
      return
    }
    const started = performance.now()
    const isAnswered = await this.callHealth(route).catch(silence)
    this.measure(route, isAnswered === null ? null : performance.now() - started)
  }

  private async callHealth(route: Route): Promise<true> {
    const headers = route.kind === 'relay' ? await this.options.server.authorization() : {}
    try {
      await call(this.options.fetcher, `${route.base}/healthz`, { headers, timeoutMs: PROBE_TIMEOUT_MS })
    } catch (error) {
      // The node answers; that its engine is not ready is told by its status and does not close the way.
      if (!hasCode(error, ...ENGINE_TROUBLE)) throw error
    }
    return true
  }

  private measure(route: Route, roundTripMs: number | null): void {
    const before = this.measurements.get(route.base) ?? UNMEASURED
    this.measurements.set(route.base, roundTripMs === null ? failed(before) : succeeded(before, roundTripMs))
  }

  private choose(): void {
    const best = new Map<string, { route: Route; roundTripMs: number }>()
    for (const node of this.nodes) {
      const [first] = this.routesTo(node)
        .map((route) => ({ route, measurement: this.measurements.get(route.base) ?? UNMEASURED }))
        .filter(({ measurement }) => isAlive(measurement))
        .sort((left, right) => score(left.route.kind, left.measurement) - score(right.route.kind, right.measurement))
      if (first !== undefined) {
        best.set(node.node_id, { route: first.route, roundTripMs: first.measurement.roundTripMs ?? 0 })
      }
    }
    this.state.best = best
  }

  private routesTo(node: Node): Route[] {
    const nodeId = node.node_id
    const direct = (node.status?.candidates ?? [])
      .filter(({ kind }) => LOOPBACK.has(this.options.pageHost) && kind === 'loopback')
      .map((candidate): Route => ({ kind: 'direct', nodeId, base: baseOf(candidate) }))
    return [...direct, { kind: 'relay', nodeId, base: `${this.options.server.origin}/relay/${nodeId}` }]
  }
}

/** The address before `/v1/…`. */
export function baseOf({ scheme, host, port }: Candidate): string {
  return `${scheme}://${host}:${String(port)}`
}

/** No answer is an outcome of a probe, not an error. */
function silence(error: unknown): null {
  if (error instanceof ProblemError) return null
  throw error
}
