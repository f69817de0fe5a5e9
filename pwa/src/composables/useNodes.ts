import { computed, type ComputedRef } from 'vue'
import { useDomovoi } from '../stores/domovoi'
import { preferredNode } from '../sync/nodes'
import { useSituation } from './situation'
import type { NodeView } from './types'

/** The paired PCs, the one that would answer now first; null until they have been read. */
export function useNodes(): ComputedRef<NodeView[] | null> {
  const { engine } = useDomovoi()
  const { nodes, strange } = useSituation()
  return computed(() => {
    const best = engine.value?.router.state.best ?? new Map()
    const first = preferredNode(nodes.value ?? [], best)
    const all = nodes.value?.map((node): NodeView => {
      const way = engine.value?.router.state.best.get(node.node_id)
      const { status } = node
      return {
        id: node.node_id,
        name: node.name,
        awake: node.awake || way !== undefined,
        since: node.since_ms,
        departure: node.departure ?? 'unknown',
        route: way?.route.kind ?? null,
        latencyMs: way?.roundTripMs ?? null,
        version: status?.version || null,
        engine: status?.engine ?? null,
        model: status?.model ?? null,
        generating: status?.generating ?? 0,
        queue: status?.queue ?? 0,
        tokensPerSecond: status?.tokens_per_second ?? null,
        steps: status?.steps ?? [],
        isManaged: node.level === 'manage',
        isOnLocalNetwork: status?.local_network ?? null,
        isStrange: strange.value.has(node.node_id),
      }
    })
    return all?.sort((left, right) => Number(right.id === first?.node_id) - Number(left.id === first?.node_id)) ?? null
  })
}
