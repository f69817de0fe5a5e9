/** What the screen and the network read. Each is one read transaction, fit for a live query. */
import { toHex } from '../protocol/bytes'
import type { Node, PathMessage, Request } from '../protocol/generated'
import { isRunnable, pathTo, type Messages } from '../protocol/messages'
import type { AccountDatabase, KnownNode, PendingRecord, SummaryRecord } from './database'
import { loadConversation, type Conversation } from './conversations'
import { readOwnLog } from './log'
import { waitingIn } from './outboxRows'
import { watchQuery } from './watchQuery'

const FIRST_NODES_WAIT_MS = 3_000

/** A conversation as it is stored here, with what is only known on this device. */
export interface StoredThread {
  conversation: Conversation
  summary: SummaryRecord | null
  messages: Messages
  device: string
  /** The last dseq of each entity that has unacknowledged changes. */
  unacknowledged: Map<string, number>
  routes: Map<string, 'direct' | 'relay'>
}

export async function readThread(db: AccountDatabase, id: string): Promise<StoredThread> {
  return db.threadReading(async () => {
    const [{ conversation, messages }, summary, device, waiting, arrivals] = await Promise.all([
      loadConversation(db, id),
      db.summary.get(id),
      db.getMeta('device'),
      waitingIn(db, id),
      db.arrival.where('conversation').equals(id).toArray(),
    ])
    return {
      conversation,
      summary: summary ?? null,
      messages,
      device: device?.id ?? '',
      unacknowledged: new Map(waiting.map(({ dseq, change }) => [toHex(change[2]), dseq])),
      routes: new Map(arrivals.map((arrival) => [arrival.id, arrival.route])),
    }
  })
}

/** A conversation to list, and whether an answer has come in it that nobody has seen on this device. */
export type ListedSummary = SummaryRecord & { unread: boolean }

/** Conversations to list, pinned ones first, then the newest; those of one millisecond by their ids, as they are read. */
export async function readSummaries(db: AccountDatabase): Promise<ListedSummary[]> {
  const [all, seen, unreadFrom] = await Promise.all([db.summary.toArray(), db.seen.toArray(), db.getMeta('unreadFrom')])
  const seenUntil = new Map(seen.map(({ conversation, answeredAt }) => [conversation, answeredAt]))
  const isUnread = ({ id, answeredAt }: SummaryRecord) =>
    answeredAt !== null && answeredAt > Math.max(seenUntil.get(id) ?? 0, unreadFrom ?? Infinity)
  return all
    .filter((summary) => summary.listed && !summary.deleted)
    .map((summary) => ({ ...summary, unread: isUnread(summary) }))
    .sort((left, right) => Number(right.pinned) - Number(left.pinned) || right.updatedAt - left.updatedAt)
}

/** Deleted conversations that are not over for good, the newest first. */
export async function readDeleted(db: AccountDatabase): Promise<SummaryRecord[]> {
  return (await db.summary.toArray())
    .filter((summary) => summary.listed && summary.deleted && summary.purged !== true)
    .sort((left, right) => right.updatedAt - left.updatedAt)
}

/** Requests without an end, and which device this is. */
export async function readPending(db: AccountDatabase): Promise<{ device: string; pending: PendingRecord[] }> {
  return { device: (await db.getMeta('device'))?.id ?? '', pending: await db.pending.toArray() }
}

export async function readNodes(db: AccountDatabase): Promise<KnownNode[] | null> {
  const nodes = await db.getMeta('nodes')
  // Those of an earlier version have none.
  return nodes?.map((node) => ({ ...node, candidates: (node as Partial<KnownNode>).candidates ?? [] })) ?? null
}

/** Keeps what the server tells of the account's nodes; of one that it has no status of, the addresses stay. */
export async function storeNodes(db: AccountDatabase, nodes: readonly Node[]): Promise<void> {
  await db.metaTransaction(async () => {
    const known = new Map((await readNodes(db))?.map((node) => [node.node_id, node.candidates]))
    const stored = nodes.map((node) => ({
      ...node,
      candidates: node.status?.candidates ?? known.get(node.node_id) ?? [],
    }))
    await db.putMeta('nodes', stored)
  })
}

/** Returns the account's nodes; right after the first login it waits a moment for the first list. */
export async function knownNodes(db: AccountDatabase): Promise<readonly KnownNode[]> {
  const list = await readNodes(db)
  if (list !== null) return list
  return new Promise((resolve) => {
    const finish = (nodes: KnownNode[]) => {
      clearTimeout(timer)
      stop()
      resolve(nodes)
    }
    const timer = setTimeout(() => {
      finish([])
    }, FIRST_NODES_WAIT_MS)
    const stop = watchQuery(
      () => readNodes(db),
      (nodes) => {
        if (nodes !== null) finish(nodes)
      },
    )
  })
}

/** Ids of the answers whose requests the server has not acknowledged, and how many changes there are in all. */
export async function readUnacknowledged(db: AccountDatabase): Promise<{ requests: Set<string>; changes: number }> {
  const [requests, { nextDseq, ackedDseq }] = await Promise.all([db.outbox.orderBy('requests').keys(), readOwnLog(db)])
  // The log has no gaps.
  return { requests: new Set(requests as string[]), changes: nextDseq - 1 - ackedDseq }
}

/** Everything a node needs to answer without the log. */
export interface SelfContainedRequest {
  request: Request
  path: PathMessage[]
}

/** Returns the request with its path, or null when the answer may not start yet (Q3) or is over. */
export async function readRequestPath(
  db: AccountDatabase,
  pending: PendingRecord,
): Promise<SelfContainedRequest | null> {
  const { conversation, messages } = await db.threadReading(() => loadConversation(db, pending.conversation))
  const answer = messages.get(pending.id)
  const isWanted = answer !== undefined && !answer.deleted && !answer.stop && !conversation.deleted
  if (!isWanted || answer.request === null || answer.state !== null || !isRunnable(messages, answer)) return null
  const path = pathTo(messages, answer.parent) ?? []
  return { request: answer.request, path: path.map(({ role, body }) => ({ role, text: body })) }
}
