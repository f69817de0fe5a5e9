import { computed, type ComputedRef } from 'vue'
import type { Node } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import type { Engine } from '../sync/engine'
import type { LiveAnswer } from '../sync/liveAnswer'
import { preferredNode } from '../sync/nodes'
import type { Attempt } from '../sync/router'
import { isWaitingHere } from './summaryView'
import { useSituation } from './situation'
import type { WayView } from './networkTypes'
import type { RouteKind, Status, StatusKind } from './types'

/** Where an answer would come from now, and what waits. */
export function useStatus(): ComputedRef<Status> {
  const { engine, session } = useDomovoi()
  const { nodes, pending, unacknowledged, sync } = useSituation()
  return computed(() => {
    const connection = engine.value === null ? UNCONNECTED : describeConnection(engine.value, nodes.value)
    const live = engine.value?.answers.live ?? NO_ANSWERS
    const requests = unacknowledged.value.requests
    const { ended } = session.state
    return {
      ...connection,
      queued: pending.value.filter((answer) => isWaitingHere(answer, { unacknowledged: requests, live })).length,
      unsynced: unacknowledged.value.changes,
      inStepAt: sync.value?.inStepAt ?? null,
      problem: engine.value?.link.problem ?? (ended ? 'login_ended' : null),
    }
  })
}

type Connection = Omit<Status, 'queued' | 'unsynced' | 'inStepAt' | 'problem'>

const NO_ANSWERS: ReadonlyMap<string, LiveAnswer> = new Map()

const UNCONNECTED: Connection = {
  kind: 'connecting',
  latencyMs: null,
  serverMs: null,
  nodeMs: null,
  nodeId: null,
  nodeName: null,
  nodeAwake: false,
  nodeSince: null,
  nodeDeparture: 'unknown',
  isCompatible: false,
  ways: [],
  model: null,
  engine: null,
  models: [],
  loaded: [],
  steps: [],
  nextTryAt: null,
}

function describeConnection({ link, router }: Engine, nodes: readonly Node[] | null): Connection {
  const node = preferredNode(nodes ?? [], router.state.best)
  const best = node === null ? undefined : router.state.best.get(node.node_id)
  const route = best?.route.kind ?? null
  const { serverMs } = router.state
  const latencyMs = best?.roundTripMs ?? null
  const isServerUp = link.connection === 'up' || serverMs !== null
  const { probed } = router.state
  const isNodeKnown = node === null ? nodes !== null : (probed?.has(node.node_id) ?? false)
  const isKnown = probed !== null && (isNodeKnown || !isServerUp)
  return {
    kind: isKnown ? kindOf(isServerUp, nodes ?? [], route, link.connection === 'connecting') : 'connecting',
    latencyMs,
    serverMs,
    nodeMs: route === 'relay' && latencyMs !== null ? Math.max(0, latencyMs - (serverMs ?? 0)) : latencyMs,
    nodeId: node?.node_id ?? null,
    nodeName: node?.name ?? null,
    nodeAwake: best !== undefined || (isServerUp && (node?.awake ?? false)),
    nodeSince: node?.since_ms ?? null,
    nodeDeparture: node?.departure ?? 'unknown',
    isCompatible: route === 'relay' && node?.transport === 'polling',
    ways: viewWays(router.state.attempts.get(node?.node_id ?? '') ?? [], best?.route.base),
    model: node?.status?.model ?? null,
    engine: node?.status?.engine ?? null,
    models: node?.status?.models ?? [],
    loaded: node?.status?.loaded ?? [],
    steps: node?.status?.steps ?? [],
    nextTryAt: isServerUp ? null : link.nextTryAt,
  }
}

function viewWays(attempts: readonly Attempt[], inUse: string | undefined): WayView[] {
  return attempts.map(({ route, candidate, outcome, ms }) => ({
    kind: candidate?.kind ?? 'relay',
    address: candidate === null ? '' : `${candidate.host}:${String(candidate.port)}`,
    outcome,
    ms,
    isInUse: route.base === inUse,
  }))
}

function kindOf(
  isServerUp: boolean,
  nodes: readonly Node[],
  route: RouteKind | null,
  isConnecting: boolean,
): StatusKind {
  if (!isServerUp) return route === 'direct' ? 'server_down' : isConnecting ? 'connecting' : 'offline'
  if (route !== null) return route
  return nodes.length === 0 ? 'no_node' : 'asleep'
}
