/** The branch to show, worked out from what is stored and what streams. Pure. */
import type { StoredThread } from '../local/reads'
import { deviceOf, millisecondsOf } from '../protocol/clock'
import { toHex } from '../protocol/bytes'
import type { Message, Tree } from '../protocol/messages'
import { isContinuable, isFinal } from '../protocol/values'
import type { LinkState } from '../sync/link'
import { viewAnswer, type AnswerContext } from './answerView'
import type { Delivery, Id, RouteKind, ThreadMessage } from './types'

/** Refusals of a push that trying again does not change. */
const LASTING_REFUSALS: ReadonlySet<string> = new Set(['bad_request', 'body_too_large'])

/**
 * Returns the leaf that an open view follows: the one this device chose last, else the one it opened with. A
 * branch chosen on another device never moves it; what is written below it still appears.
 */
export function followedLeaf(followed: Id | null, { conversation, device }: StoredThread, tree: Tree): Id | null {
  if (conversation.activeLeaf !== null && conversation.activeLeafDevice === device) return conversation.activeLeaf
  return followed ?? tree.activePath(conversation.activeLeaf).at(-1)?.id ?? null
}

/** One message of the branch, with all that its view takes from the store. */
export interface ShownMessage {
  message: Message
  siblings: readonly Id[]
  /** The answers to it. */
  answers: readonly Message[]
  /** Its last dseq that the server has not acknowledged, of messages that this device wrote; null for others. */
  own: { unacknowledged: number | undefined } | null
  route: RouteKind | null
  /** The answer before it failed or broke off. */
  isBlocked: boolean
}

/** The end of a branch, root first, and whether more of it came before. */
export interface ShownBranch {
  shown: ShownMessage[]
  hasEarlier: boolean
}

/** Returns the last `most` messages of the branch through `leaf`; nothing of a deleted conversation. */
export function shownBranch(thread: StoredThread, tree: Tree, leaf: Id | null, most: number): ShownBranch {
  const path = thread.conversation.deleted ? [] : tree.activePath(leaf)
  const first = Math.max(0, path.length - most)
  let before = path.slice(0, first).findLast(({ role }) => role === 'assistant') ?? null
  const shown = path.slice(first).map((message) => {
    const isBlocked = before !== null && isFinal(before.state) && !isContinuable(before.state)
    if (message.role === 'assistant') before = message
    const isOwn = message.role === 'user' && toHex(deviceOf(message.created)) === thread.device
    return {
      message,
      siblings: tree.children(message.parent).map(({ id }) => id),
      answers: message.role === 'user' ? tree.children(message.id) : [],
      own: isOwn ? { unacknowledged: thread.unacknowledged.get(message.id) } : null,
      route: thread.routes.get(message.id) ?? null,
      isBlocked,
    }
  })
  return { shown, hasEarlier: first > 0 }
}

/** Says whether the view of a message can be the one that it was. */
export function isSameShown(one: ShownMessage, other: ShownMessage): boolean {
  return (
    one.message === other.message &&
    one.own?.unacknowledged === other.own?.unacknowledged &&
    one.route === other.route &&
    one.isBlocked === other.isBlocked &&
    isSameList(one.siblings, other.siblings) &&
    isSameList(one.answers, other.answers)
  )
}

function isSameList(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((member, index) => member === other[index])
}

export interface ThreadContext extends AnswerContext {
  link: Pick<LinkState, 'pushing' | 'problem'>
}

export function viewMessage(shown: ShownMessage, context: ThreadContext): ThreadMessage {
  const { message, siblings } = shown
  return {
    id: message.id,
    role: message.role,
    parent: message.parent,
    text: textOf(message, context),
    createdAt: millisecondsOf(message.created),
    delivery: deliveryOf(shown, context),
    siblings: [...siblings],
    answer: viewAnswer(shown, context),
  }
}

function textOf(message: Message, { live }: ThreadContext): string {
  return isFinal(message.state) ? message.body : (live.get(message.id)?.text ?? message.body)
}

function deliveryOf({ own, answers }: ShownMessage, context: ThreadContext): Delivery | null {
  if (own === null) return null
  const dseq = own.unacknowledged
  if (dseq === undefined) return 'accepted'
  if (answers.some((answer) => answer.state !== null || context.live.get(answer.id)?.accepted)) return 'accepted'
  const { pushing, problem } = context.link
  if (problem !== null && LASTING_REFUSALS.has(problem)) return 'failed'
  return pushing !== null && dseq <= pushing ? 'sending' : 'queued'
}
