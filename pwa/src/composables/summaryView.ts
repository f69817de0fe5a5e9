/** A row of the list of conversations. Pure. */
import type { PendingRecord, SummaryRecord } from '../local/database'
import type { LiveAnswer } from '../sync/liveAnswer'
import type { ConversationSummary } from './types'

export interface SummaryContext {
  pending: readonly PendingRecord[]
  /** Answers whose requests the server has not acknowledged. */
  unacknowledged: ReadonlySet<string>
  live: ReadonlyMap<string, LiveAnswer>
  gone: ReadonlySet<string>
}

export function viewSummary(
  summary: SummaryRecord & { unread?: boolean },
  context: SummaryContext,
): ConversationSummary {
  const pending = context.pending.filter((answer) => answer.conversation === summary.id)
  const { id, title, snippet, updatedAt, pinned, failed, unread = false } = summary
  return {
    id,
    title,
    snippet,
    updatedAt,
    pinned,
    queued: pending.filter((answer) => isWaitingHere(answer, context)).length,
    failed,
    unread,
    answering: pending.some((answer) => isAnswering(answer, context)),
  }
}

/** Says whether a request still waits on this device: neither the server nor a node has it. */
export function isWaitingHere(
  answer: PendingRecord,
  context: Pick<SummaryContext, 'unacknowledged' | 'live'>,
): boolean {
  return (
    answer.state === 'queued' &&
    !answer.stop &&
    context.unacknowledged.has(answer.id) &&
    !context.live.get(answer.id)?.accepted
  )
}

function isAnswering({ id, node, state }: PendingRecord, { live, gone }: SummaryContext): boolean {
  if (node !== null && gone.has(node)) return false
  const streaming = live.get(id)
  return streaming === undefined ? state === 'running' : streaming.ended === null && streaming.lastEvent > 0
}
