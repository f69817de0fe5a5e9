/** What is worked out from the cells of a conversation, in the transaction that writes them. */
import { deviceOf, millisecondsOf } from '../protocol/clock'
import { toHex } from '../protocol/bytes'
import { ConversationField, EntityType } from '../protocol/generated'
import { foldMessage, Tree, type Fields, type Message } from '../protocol/messages'
import { isFinal, readFlag, readId, readText } from '../protocol/values'
import type { AccountDatabase, PendingRecord, SummaryRecord } from './database'
import { entitiesInScope, loadEntity } from './entities'

/** Raised when the shape or meaning of a summary changes: the next start works all of them out again. */
const SUMMARY_VERSION = 1
const SNIPPET_CHARACTERS = 160
const TITLE_CHARACTERS = 80

/** The fields of a conversation itself. */
export interface Conversation {
  title: string
  activeLeaf: string | null
  /** The device that chose the active leaf. */
  activeLeafDevice: string | null
  pinned: boolean
  deleted: boolean
}

export function foldConversation(fields: Fields): Conversation {
  const read = <Value>(field: number, reader: (data: Uint8Array) => Value | null): Value | null => {
    const cell = fields[field]
    return cell === undefined ? null : reader(cell[6])
  }
  const leaf = read(ConversationField.ACTIVE_LEAF, readId)
  const leafCell = fields[ConversationField.ACTIVE_LEAF]
  return {
    title: read(ConversationField.TITLE, readText)?.trim() ?? '',
    activeLeaf: leaf === null ? null : toHex(leaf),
    activeLeafDevice: leafCell === undefined ? null : toHex(deviceOf(leafCell[0])),
    pinned: read(ConversationField.PINNED, readFlag) ?? false,
    deleted: read(ConversationField.DELETED, readFlag) ?? false,
  }
}

/** Reads a conversation and its messages by scope. */
export async function loadConversation(
  db: AccountDatabase,
  id: string,
): Promise<{ conversation: Conversation; messages: Map<string, Message> }> {
  const [own, entities] = await Promise.all([
    loadEntity(db, EntityType.CONVERSATION, id),
    entitiesInScope(db, EntityType.MESSAGE, id),
  ])
  const messages = new Map<string, Message>()
  for (const { eid, fields } of entities) {
    const message = foldMessage(eid, fields)
    if (message !== null) messages.set(eid, message)
  }
  return { conversation: foldConversation(own?.fields ?? {}), messages }
}

/** Works the summaries and pending requests of these scopes out again. Runs inside a log transaction. */
export async function refreshSummaries(db: AccountDatabase, scopes: ReadonlySet<string>): Promise<void> {
  for (const scope of scopes) {
    const { conversation, messages } = await loadConversation(db, scope)
    const tree = new Tree(messages)
    await db.summary.put(summarize(scope, conversation, tree))
    await db.pending.where('conversation').equals(scope).delete()
    await db.pending.bulkPut(pendingOf(scope, conversation, messages))
  }
}

/** Works everything out again when the summaries in the database are of another version of the app. */
export async function rebuildSummaries(db: AccountDatabase): Promise<void> {
  if ((await db.getMeta('summaryVersion')) === SUMMARY_VERSION) return
  await db.logTransaction(async () => {
    const scopes = new Set<string>()
    await db.entity.each((record) => scopes.add(record.scope))
    await db.summary.clear()
    await db.pending.clear()
    await refreshSummaries(db, scopes)
    await db.putMeta('summaryVersion', SUMMARY_VERSION)
  })
}

export function summarize(id: string, conversation: Conversation, tree: Tree): SummaryRecord {
  const path = tree.activePath(conversation.activeLeaf)
  const last = path.findLast((message) => message.body !== '') ?? path.at(-1)
  const first = path.find((message) => message.role === 'user')
  const leaf = path.at(-1)
  return {
    id,
    title: conversation.title || firstLine(first?.body ?? '', TITLE_CHARACTERS),
    snippet: firstLine(last?.body ?? '', SNIPPET_CHARACTERS),
    updatedAt: Math.max(0, ...path.map((message) => millisecondsOf(message.created))),
    pinned: conversation.pinned,
    deleted: conversation.deleted,
    listed: path.length > 0 || conversation.title !== '',
    failed: leaf?.state?.state === 'failed' || leaf?.state?.state === 'interrupted',
  }
}

function pendingOf(id: string, { deleted }: Conversation, messages: ReadonlyMap<string, Message>): PendingRecord[] {
  return [...messages.values()]
    .filter((message) => message.request !== null && !isFinal(message.state))
    .map((message) => ({
      id: message.id,
      conversation: id,
      device: toHex(deviceOf(message.created)),
      node: message.request?.node ? toHex(message.request.node) : null,
      state: message.state === null ? 'queued' : 'running',
      stop: message.stop || message.deleted || deleted,
    }))
}

function firstLine(text: string, characters: number): string {
  const line = text.trimStart().split('\n', 1)[0]?.trim() ?? ''
  return Array.from(line.slice(0, 2 * characters))
    .slice(0, characters)
    .join('')
}
