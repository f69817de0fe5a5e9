/** Choosing among an account's nodes. */
import { limits, type Node } from '../protocol/generated'
import type { RouterState } from './router'

/** Returns the node that would answer now: one with a living route, else one that is awake, else the first. */
export function preferredNode(nodes: readonly Node[], best: RouterState['best']): Node | null {
  const reachable = nodes.find((node) => best.has(node.node_id))
  return reachable ?? nodes.find((node) => node.awake) ?? nodes[0] ?? null
}

/** Returns the ids of nodes that have been gone for so long that their runs show as interrupted (Q8). */
export function goneNodes(nodes: readonly Node[], best: RouterState['best'], serverNow: number): Set<string> {
  const isGone = (node: Node) =>
    !node.awake && !best.has(node.node_id) && serverNow - node.since_ms >= limits.NODE_GONE_AFTER_S * 1000
  return new Set(nodes.filter(isGone).map((node) => node.node_id))
}
