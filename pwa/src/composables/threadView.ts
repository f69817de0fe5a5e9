/** The branch to show, worked out from what is stored and what streams. Pure. */
import type { StoredThread } from '../local/reads'
import { deviceOf, millisecondsOf } from '../protocol/clock'
import { toHex } from '../protocol/bytes'
import { Tree, type Message } from '../protocol/messages'
import { isFinal } from '../protocol/values'
import type { LinkState } from '../sync/link'
import { viewAnswer, type AnswerContext } from './answerView'
import type { Delivery, Id, ThreadMessage } from './types'

/** Refusals of a push that trying again does not change. */
const LASTING_REFUSALS: ReadonlySet<string> = new Set(['bad_request', 'body_too_large'])

/**
 * Returns the leaf that an open view follows: the one this device chose last, else the one it opened with. A
 * branch chosen on another device never moves it; what is written below it still appears.
 */
export function followedLeaf(followed: Id | null, { conversation, device, messages }: StoredThread): Id | null {
  if (conversation.activeLeaf !== null && conversation.activeLeafDevice === device) return conversation.activeLeaf
  return followed ?? new Tree(messages).activePath(conversation.activeLeaf).at(-1)?.id ?? null
}

export interface ThreadContext extends Omit<AnswerContext, 'messages' | 'routes'> {
  link: Pick<LinkState, 'pushing' | 'problem'>
}

/** The branch to show, with the tree it was found in. */
export interface ShownBranch {
  thread: StoredThread
  tree: Tree
  path: Message[]
}

/** Returns the branch through `leaf`, root first; nothing of a deleted conversation. */
export function shownBranch(thread: StoredThread, leaf: Id | null): ShownBranch {
  const tree = new Tree(thread.messages)
  return { thread, tree, path: thread.conversation.deleted ? [] : tree.activePath(leaf) }
}

/** Returns one message of the branch. */
export function viewMessage(message: Message, { thread, tree }: ShownBranch, context: ThreadContext): ThreadMessage {
  return {
    id: message.id,
    role: message.role,
    parent: message.parent,
    text: textOf(message, context),
    createdAt: millisecondsOf(message.created),
    delivery: deliveryOf(message, tree, thread, context),
    siblings: tree.children(message.parent).map((sibling) => sibling.id),
    answer: viewAnswer(message, { ...context, messages: thread.messages, routes: thread.routes }),
  }
}

function textOf(message: Message, { live }: ThreadContext): string {
  return isFinal(message.state) ? message.body : (live.get(message.id)?.text ?? message.body)
}

function deliveryOf(message: Message, tree: Tree, thread: StoredThread, context: ThreadContext): Delivery | null {
  if (message.role !== 'user' || toHex(deviceOf(message.created)) !== thread.device) return null
  const dseq = thread.unacknowledged.get(message.id)
  if (dseq === undefined) return 'accepted'
  const answers = tree.children(message.id)
  if (answers.some((answer) => answer.state !== null || context.live.get(answer.id)?.accepted)) return 'accepted'
  const { pushing, problem } = context.link
  if (problem !== null && LASTING_REFUSALS.has(problem)) return 'failed'
  return pushing !== null && dseq <= pushing ? 'sending' : 'queued'
}
