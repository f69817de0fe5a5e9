/** Which way leads to a node now. Reachability is probed, never inferred from `navigator.onLine`. */
import { shallowReactive } from 'vue'
import type { KnownNode } from '../local/database'
import type { Candidate } from '../protocol/generated'
import { ProblemError } from '../protocol/errors'
import { CLOSED, isResting, tripped, type Breaker } from './breaker'
import { nextChoice, type Choice } from './choice'
import { failed, isAlive, score, succeeded, UNMEASURED, type Measurement } from './routes'
import type { Server } from './server'
import { Bell, isRunning, sleep } from './wait'
import { waysTo, type LocalNetworkPermission, type Obstacle, type PageAddress } from './ways'

export type RouteKind = 'direct' | 'relay'

export interface Route {
  kind: RouteKind
  nodeId: string
  /** Address before `/v1/…`. */
  base: string
}

/** What came of trying a way to a node; `resting` ways are left alone for a while. */
export interface Attempt {
  route: Route
  /** null for the relay. */
  candidate: Candidate | null
  outcome: Finding | 'resting' | Obstacle
  /** Round trip, ms; of a way that did not open, how long that took to learn. */
  ms: number | null
}

export interface RouterState {
  /** Round trip to the server, ms; null while it does not answer. */
  serverMs: number | null
  /** The route of each node that is in use, with its round trip in ms. */
  best: ReadonlyMap<string, { route: Route; roundTripMs: number }>
  /** Nodes whose routes have been probed; null before the first round. */
  probed: ReadonlySet<string> | null
  /** What came of each way to each node, in the order in which they are tried. */
  attempts: ReadonlyMap<string, readonly Attempt[]>
}

const PROBE_TIMEOUT_MS = 1_500
const STAGGER_MS = 250
const PROBE_EVERY_MS = 15_000
const PROBE_AGAIN_MS = 1_000
const DOUBTS = 2

/**
 * What a probe meets: the node, nobody, or somebody who is not that node (rule D5); or a name that opens nothing, at once:
 * who drops answers that lead home, as routers do, leaves nobody to wait for.
 */
export type Finding = 'open' | 'silent' | 'stranger' | 'nameless'

/** Asks whoever is at the end of a route to show that it is the node. Throws ProblemError where nobody answers. */
export type Probe = (route: Route, signal: AbortSignal) => Promise<'open' | 'stranger'>

export interface RouterOptions {
  server: Server
  probe: Probe
  page: PageAddress
  /** What the browser lets the page do at home. */
  permission: () => LocalNetworkPermission
  isVisible: () => boolean
  /** ms. */
  now: () => number
}

export class Router {
  readonly state: RouterState = shallowReactive({ serverMs: null, best: new Map(), probed: null, attempts: new Map() })
  private readonly measurements = new Map<string, Measurement>()
  /** Routes that have not been measured since everything was begun afresh: what is known of them is the old network's. */
  private readonly stale = new Set<string>()
  private readonly breakers = new Map<string, Breaker>()
  private readonly attempts = new Map<string, Attempt>()
  private readonly lives = new Map<string, AbortController>()
  private choices = new Map<string, Choice>()
  /** How often everything was begun afresh, and of these how often a whole round has shown what there is. */
  private starts = 1
  private roundsOfStarts = 0
  private readonly bell = new Bell()
  private nodes: readonly KnownNode[] = []

  constructor(private readonly options: RouterOptions) {}

  /** Takes a new list of nodes; routes are probed again at once when addresses or presence changed. */
  setNodes(nodes: readonly KnownNode[]): void {
    const addresses = (list: readonly KnownNode[]) =>
      JSON.stringify(list.map((node) => [node.node_id, node.candidates]))
    const presence = (list: readonly KnownNode[]) => JSON.stringify(list.map((node) => [node.awake, node.since_ms]))
    const [hasMoved, isNews] = [addresses(nodes) !== addresses(this.nodes), presence(nodes) !== presence(this.nodes)]
    this.nodes = nodes
    if (hasMoved) this.startAfresh()
    else if (isNews) this.tryAgain()
  }

  /** The device is on another network, or the node is: what was measured tells nothing any more (rule D7). */
  startAfresh(): void {
    this.starts += 1
    for (const key of this.measurements.keys()) this.stale.add(key)
    this.tryAgain()
  }

  /** Somebody looks: what was left alone is tried again. */
  tryAgain(): void {
    this.breakers.clear()
    this.probeNow()
  }

  probeNow(): void {
    this.bell.ring()
  }

  /** Returns the route to a node that is in use, or null. */
  best(nodeId: string): Route | null {
    return this.state.best.get(nodeId)?.route ?? null
  }

  /** Returns what is aborted when the route is found dead: who still waits on it need not wait for its silence. */
  lifeOf(route: Route): AbortSignal {
    const life = this.lives.get(keyOf(route)) ?? new AbortController()
    this.lives.set(keyOf(route), life)
    return life.signal
  }

  /** A call on this route broke: counts like a failed probe, and the routes are probed again. */
  reportFailure(route: Route): void {
    this.measure(route, null)
    this.choose(false)
    this.probeNow()
  }

  /** Nothing has come on this route for a while: it is asked at once, and is dead after two silences. */
  async doubt(route: Route, signal: AbortSignal): Promise<void> {
    for (let doubts = 0; doubts < DOUBTS && isRunning(signal); doubts += 1) {
      if (await this.probe(route, null, signal)) return
    }
    this.choose(false)
  }

  /** Probes every route now and then until `signal` is aborted. A hidden page probes only when something asks. */
  async run(signal: AbortSignal): Promise<void> {
    while (isRunning(signal)) {
      await this.probeAll(signal)
      let isAsked = await this.bell.wait(this.isUncertain() ? PROBE_AGAIN_MS : PROBE_EVERY_MS, signal)
      while (isRunning(signal) && !isAsked && !this.options.isVisible()) {
        isAsked = await this.bell.wait(PROBE_EVERY_MS, signal)
      }
    }
  }

  /** Until a whole round has shown what there is, the best is chosen without hysteresis. */
  private get isFresh(): boolean {
    return this.roundsOfStarts < this.starts
  }

  /** One failure does not bury a route, but it is looked at again soon. */
  private isUncertain(): boolean {
    return [...this.measurements.values()].some((known) => known.outcomes.at(-1) === false && isAlive(known))
  }

  private async probeAll(signal: AbortSignal): Promise<void> {
    const { nodes, starts } = this
    const probes = nodes.flatMap((node) => [
      this.probeOf({ route: this.relayTo(node), candidate: null }, 0, signal),
      ...this.directTo(node).map((way, index) => this.probeOf(way, index * STAGGER_MS, signal)),
    ])
    await Promise.all([this.probeServer(), ...probes])
    if (!isRunning(signal)) return
    this.choose(true)
    this.roundsOfStarts = starts
    this.state.probed = new Set(nodes.map((node) => node.node_id))
  }

  private async probeServer(): Promise<void> {
    this.state.serverMs = await this.options.server.ping().catch(silence)
  }

  private async probeOf(
    { route, candidate }: Pick<Attempt, 'route' | 'candidate'>,
    afterMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    if (isResting(this.breakers.get(keyOf(route)) ?? CLOSED, this.options.now())) {
      // That somebody else was met there, or that its name leads nowhere, is what a person should know of it.
      const before = this.attempts.get(keyOf(route))?.outcome
      const isTelling = before === 'stranger' || before === 'nameless'
      this.note({ route, candidate, outcome: isTelling ? before : 'resting', ms: null })
      return
    }
    if (afterMs > 0) await sleep(afterMs, signal)
    if (!isRunning(signal)) return
    await this.probe(route, candidate, signal)
    this.choose(false)
  }

  private async probe(route: Route, candidate: Candidate | null, signal: AbortSignal): Promise<boolean> {
    // The first call pays for the connection and its preflight; how far away the node is, the second one tells.
    const isWarm = this.measurements.get(keyOf(route))?.outcomes.at(-1) === true && !this.stale.has(keyOf(route))
    const known = candidate ?? this.attempts.get(keyOf(route))?.candidate ?? null
    let started = performance.now()
    let outcome: Finding = isWarm ? 'open' : await this.ask(route, known, signal)
    if (outcome === 'open') {
      started = performance.now()
      outcome = await this.ask(route, known, signal)
    }
    const ms = performance.now() - started
    if (!isRunning(signal)) return false
    this.note({ route, candidate: known, outcome, ms })
    this.measure(route, outcome === 'open' ? ms : null)
    return outcome === 'open'
  }

  private async ask(route: Route, candidate: Candidate | null, signal: AbortSignal): Promise<Finding> {
    const late = AbortSignal.timeout(PROBE_TIMEOUT_MS)
    try {
      return await this.options.probe(route, AbortSignal.any([signal, late]))
    } catch (error) {
      if (signal.aborted || late.aborted) return 'silent'
      if (!(error instanceof ProblemError)) throw error
      return candidate?.kind === 'name' && error.code === 'offline' ? 'nameless' : 'silent'
    }
  }

  private measure(route: Route, roundTripMs: number | null): void {
    const key = keyOf(route)
    const before = (this.stale.delete(key) ? undefined : this.measurements.get(key)) ?? UNMEASURED
    // On another network one silence says what two say otherwise: that the route was the old one's.
    const lost = this.isFresh ? failed(failed(before)) : failed(before)
    const after = roundTripMs === null ? lost : succeeded(before, roundTripMs)
    this.measurements.set(key, after)
    if (roundTripMs !== null) this.breakers.delete(key)
    if (isAlive(after)) return
    this.lives.get(key)?.abort()
    this.lives.delete(key)
    // A relay that fails costs the network at home nothing, and comes back with the node.
    if (route.kind === 'direct') {
      this.breakers.set(key, tripped(this.breakers.get(key) ?? CLOSED, this.options.now()))
    }
  }

  private note(attempt: Attempt): void {
    this.attempts.set(keyOf(attempt.route), attempt)
  }

  private choose(isRoundOver: boolean): void {
    const best = new Map<string, { route: Route; roundTripMs: number }>()
    const attempts = new Map<string, readonly Attempt[]>()
    const choices = new Map<string, Choice>()
    const now = this.options.now()
    for (const node of this.nodes) {
      const routes = [...this.directTo(node).map(({ route }) => route), this.relayTo(node)]
      const contenders = routes.map((route) => {
        const measurement = this.measurements.get(keyOf(route)) ?? UNMEASURED
        return { base: route.base, score: score(route.kind, measurement), isAlive: isAlive(measurement) }
      })
      const before = this.isFresh ? null : (this.choices.get(node.node_id) ?? null)
      const choice = nextChoice(before, contenders, now, isRoundOver)
      const route = routes.find(({ base }) => base === choice?.base)
      attempts.set(node.node_id, this.attemptsAt(node, routes))
      if (choice === null || route === undefined) continue
      choices.set(node.node_id, choice)
      best.set(node.node_id, { route, roundTripMs: this.measurements.get(keyOf(route))?.roundTripMs ?? 0 })
    }
    this.choices = choices
    this.state.best = best
    this.state.attempts = attempts
  }

  private attemptsAt(node: KnownNode, routes: readonly Route[]): Attempt[] {
    const tried = routes.flatMap((route) => this.attempts.get(keyOf(route)) ?? [])
    const barred = this.waysTo(node).flatMap(({ base, candidate, obstacle }): Attempt[] => {
      const route: Route = { kind: 'direct', nodeId: node.node_id, base }
      return obstacle === null ? [] : [{ route, candidate, outcome: obstacle, ms: null }]
    })
    return [...tried, ...barred]
  }

  private waysTo(node: KnownNode) {
    const { page, permission } = this.options
    return waysTo(node.candidates, page, permission())
  }

  private directTo(node: KnownNode): { route: Route; candidate: Candidate }[] {
    return this.waysTo(node).flatMap(({ base, candidate, obstacle }) =>
      obstacle === null ? [{ route: { kind: 'direct' as const, nodeId: node.node_id, base }, candidate }] : [],
    )
  }

  private relayTo({ node_id: nodeId }: KnownNode): Route {
    return { kind: 'relay', nodeId, base: `${this.options.server.origin}/relay/${nodeId}` }
  }
}

function keyOf({ nodeId, base }: Route): string {
  return `${nodeId} ${base}`
}

/** No answer is an outcome of a probe, not an error. */
function silence(error: unknown): null {
  if (error instanceof ProblemError) return null
  throw error
}
