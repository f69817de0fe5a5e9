/** What is worked out from a conversation, in the transaction that writes its cells. */
import { toHex } from '../protocol/bytes'
import { deviceOf, millisecondsOf } from '../protocol/clock'
import { EntityType } from '../protocol/generated'
import { Tree, type Message } from '../protocol/messages'
import { isFinal } from '../protocol/values'
import {
  advance,
  foldConversation,
  keepWhenCommitted,
  loadConversation,
  type Conversation,
  type Snapshot,
} from './conversations'
import type { AccountDatabase, PendingRecord, SummaryRecord } from './database'
import { allScopes, type Entity } from './entities'

/** Raised when the shape or meaning of a summary changes: the next start works all of them out again. */
const SUMMARY_VERSION = 3
const SNIPPET_CHARACTERS = 160
const TITLE_CHARACTERS = 80

/** Returns a conversation as of `revision`, which is its last one. Runs inside a log transaction. */
export async function snapshotBefore(db: AccountDatabase, scope: string, revision: number): Promise<Snapshot> {
  const kept = db.snapshots.get(scope)
  return kept.revision === revision ? kept : loadConversation(db, scope)
}

/** What is worked out from a conversation anew: its line in the list, and its requests without an end. */
export interface Renewal {
  /** The conversation itself, where it has been read. */
  snapshot?: Snapshot
  summary: SummaryRecord
  pending: PendingRecord[]
  /** Requests that are pending no more. */
  ended: string[]
}

/** Returns what `written` makes of a conversation that was as `before`. Runs inside a log transaction. */
export function renewal(db: AccountDatabase, scope: string, before: Snapshot, written: readonly Entity[]): Renewal {
  const now = keepWhenCommitted(db, scope, advance(before, scope, written))
  const isWhole = written.some(({ etype }) => etype === EntityType.CONVERSATION)
  const ids = isWhole ? [...before.messages.keys(), ...now.messages.keys()] : written.map(({ eid }) => eid)
  const ended = new Set(ids.filter((id) => isPending(before.messages.get(id))))
  const pending = [...new Set(ids)].flatMap((id) => pendingOf(now, id))
  for (const { id } of pending) ended.delete(id)
  return { snapshot: now, summary: summarize(scope, now), pending, ended: [...ended] }
}

/**
 * Returns the summary of a conversation of which nothing but title and pin were written, or null where that takes its
 * messages: a list of titles comes for conversations that nobody has opened, and reading them all takes seconds.
 */
export function retitled(
  summary: SummaryRecord | undefined,
  [entity]: readonly Entity[],
  revision: number,
): SummaryRecord | null {
  if (entity === undefined || summary?.listed !== true) return null
  const { title, pinned } = foldConversation(entity.fields)
  return title === '' ? null : { ...summary, revision, title, pinned }
}

/** Saves what was worked out: of all conversations at once, because each request to IndexedDB takes its time. */
export async function saveRenewals(db: AccountDatabase, renewals: readonly Renewal[]): Promise<void> {
  const pending = renewals.flatMap((renewed) => renewed.pending)
  const ended = renewals.flatMap((renewed) => renewed.ended)
  await Promise.all([
    db.summary.bulkPut(renewals.map(({ summary }) => summary)),
    ...(pending.length === 0 ? [] : [db.pending.bulkPut(pending)]),
    ...(ended.length === 0 ? [] : [db.pending.bulkDelete(ended)]),
  ])
}

/** Works everything out again when the summaries in the database are of another version of the app. */
export async function rebuildSummaries(db: AccountDatabase): Promise<void> {
  if ((await db.getMeta('summaryVersion')) === SUMMARY_VERSION) return
  await db.logTransaction(async () => {
    const scopes = await allScopes(db)
    await db.summary.clear()
    await db.pending.clear()
    for (const scope of scopes) {
      const snapshot = await loadConversation(db, scope)
      await db.summary.put(summarize(scope, snapshot))
      await db.pending.bulkPut([...snapshot.messages.keys()].flatMap((id) => pendingOf(snapshot, id)))
    }
    await db.putMeta('summaryVersion', SUMMARY_VERSION)
  })
}

function summarize(id: string, { revision, conversation, messages }: Snapshot): SummaryRecord {
  const path = new Tree(messages).activePath(conversation.activeLeaf)
  const last = path.findLast((message) => message.body !== '') ?? path.at(-1)
  const first = path.find((message) => message.role === 'user')
  const leaf = path.at(-1)
  return {
    id,
    revision,
    title: conversation.title || firstTitle(first?.body ?? ''),
    snippet: firstLine(withoutMarks(last?.body ?? ''), SNIPPET_CHARACTERS),
    updatedAt:
      path.length === 0
        ? conversation.chosenAt
        : path.reduce((latest, { created }) => Math.max(latest, millisecondsOf(created)), 0),
    pinned: conversation.pinned,
    deleted: conversation.deleted || conversation.purged,
    purged: conversation.purged,
    // Without messages it is one whose messages are on their way (L16), and not one that lost them all.
    listed: path.length > 0 || (messages.size === 0 && (conversation.title !== '' || conversation.activeLeaf !== null)),
    failed: leaf?.state?.state === 'failed' || leaf?.state?.state === 'interrupted',
    answeredAt: leaf?.state?.state === 'done' ? millisecondsOf(leaf.created) : null,
  }
}

function isPending(message: Message | undefined): message is Message {
  return message !== undefined && message.request !== null && !isFinal(message.state)
}

function pendingOf({ conversation, messages }: Snapshot, id: string): PendingRecord[] {
  const message = messages.get(id)
  return isPending(message) ? [pendingRecord(message, conversation)] : []
}

function pendingRecord(message: Message, { deleted }: Conversation): PendingRecord {
  return {
    id: message.id,
    conversation: message.conversation,
    device: toHex(deviceOf(message.created)),
    node: message.request?.node ? toHex(message.request.node) : null,
    state: message.state === null ? 'queued' : 'running',
    stop: message.stop || message.deleted || deleted,
  }
}

/** Fence lines and the marks that begin a line or surround words say nothing in a snippet. */
function withoutMarks(markdown: string): string {
  return markdown
    .replace(/^\s*(?:```|~~~).*$/gm, '')
    .replace(/^\s*(?:#{1,6}|[-*+>]|\d+[.)])\s+/gm, '')
    .replace(/(\*\*|__|`)(?=\S)(.+?)\1/g, '$2')
}

/** What a conversation is called until somebody names it. */
export function firstTitle(question: string): string {
  return firstLine(question, TITLE_CHARACTERS)
}

function firstLine(text: string, characters: number): string {
  const line = text.trimStart().split('\n', 1)[0]?.trim() ?? ''
  return Array.from(line.slice(0, 2 * characters))
    .slice(0, characters)
    .join('')
}
