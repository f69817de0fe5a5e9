/** Choosing among an account's nodes. */
import { limits, type AsleepPolicy, type Node } from '../protocol/generated'
import type { RouterState } from './router'

/** Returns the node that would answer now: one with a living route, else one that is awake, else the first. */
export function preferredNode(nodes: readonly Node[], best: RouterState['best']): Node | null {
  const reachable = nodes.find((node) => best.has(node.node_id))
  return reachable ?? nodes.find((node) => node.awake) ?? nodes[0] ?? null
}

/** Whom a question goes to; `instead` can answer now where the node that was chosen can't, and nobody has decided. */
export interface NodeChoice {
  node: Node | null
  instead: Node | null
}

/** Chooses the node for a question. `main` is the id of the one that a person wants to answer, '' for whichever does. */
export function chooseNode(
  nodes: readonly Node[],
  best: RouterState['best'],
  main: string,
  policy: AsleepPolicy,
): NodeChoice {
  const wanted = nodes.find((node) => node.node_id === main)
  const other = preferredNode(nodes, best)
  if (wanted === undefined) return { node: other, instead: null }
  // One that the server knows to be awake gets it by way of the log, wherever this device is.
  if (best.has(main) || wanted.awake || policy === 'wait') return { node: wanted, instead: null }
  const isThere = other !== null && best.has(other.node_id)
  if (!isThere) return { node: wanted, instead: null }
  return policy === 'another' ? { node: other, instead: null } : { node: wanted, instead: other }
}

/** Returns the ids of nodes that have been gone for so long that their runs show as interrupted (Q8). */
export function goneNodes(nodes: readonly Node[], best: RouterState['best'], serverNow: number): Set<string> {
  const isGone = (node: Node) =>
    !node.awake && !best.has(node.node_id) && serverNow - node.since_ms >= limits.NODE_GONE_AFTER_S * 1000
  return new Set(nodes.filter(isGone).map((node) => node.node_id))
}
