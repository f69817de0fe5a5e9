/**
 * Which nodes this device trusts. A node's id is a hash of its key, so no other key can ever answer for an id (rule H3);
 * what can change is who stands in the list under a name that is known. That is told, and not called until a person says
 * that it is right.
 */
import type { Node } from '../protocol/generated'
import { ProblemError } from '../protocol/errors'
import type { AccountDatabase } from './database'

/** Returns the ids of nodes that have the name of one that is gone. */
export async function readStrangeNodes(db: AccountDatabase): Promise<ReadonlySet<string>> {
  const nodes = (await db.getMeta('nodes')) ?? []
  const trusted = (await db.getMeta('trustedNodes')) ?? {}
  const strange = nodes.filter((node) => !(node.node_id in trusted) && predecessors(node, nodes, trusted).length > 0)
  return new Set(strange.map(({ node_id: id }) => id))
}

/** Trusts the nodes that are new here and take nobody's place. Throws ProblemError `node_key_changed` for one that does. */
export async function checkNode(db: AccountDatabase, nodeId: string): Promise<void> {
  await db.metaTransaction(async () => {
    const strange = await readStrangeNodes(db)
    if (strange.has(nodeId)) throw new ProblemError('node_key_changed')
    const nodes = (await db.getMeta('nodes')) ?? []
    const trusted = (await db.getMeta('trustedNodes')) ?? {}
    const welcome = nodes.filter(({ node_id: id }) => !(id in trusted) && !strange.has(id))
    if (welcome.length > 0) await db.putMeta('trustedNodes', { ...trusted, ...named(welcome) })
  })
}

/** A person says that the PC is the one that it says it is. */
export async function trustNode(db: AccountDatabase, nodeId: string): Promise<void> {
  await db.metaTransaction(async () => {
    const nodes = (await db.getMeta('nodes')) ?? []
    const trusted = (await db.getMeta('trustedNodes')) ?? {}
    const accepted = nodes.filter(({ node_id: id }) => id === nodeId)
    const gone = accepted.flatMap((node) => predecessors(node, nodes, trusted))
    const kept = Object.entries(trusted).filter(([id]) => !gone.includes(id))
    await db.putMeta('trustedNodes', { ...Object.fromEntries(kept), ...named(accepted) })
  })
}

function predecessors({ name }: Node, nodes: readonly Node[], trusted: Readonly<Record<string, string>>): string[] {
  const listed = new Set(nodes.map(({ node_id: id }) => id))
  return Object.keys(trusted).filter((id) => trusted[id] === name && !listed.has(id))
}

function named(nodes: readonly Node[]): Record<string, string> {
  return Object.fromEntries(nodes.map(({ node_id: id, name }) => [id, name]))
}
