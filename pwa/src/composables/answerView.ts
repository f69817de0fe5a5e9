/** What the line under an answer says. */
import { toHex } from '../protocol/bytes'
import type { State } from '../protocol/generated'
import type { Message } from '../protocol/messages'
import { isFinal } from '../protocol/values'
import type { LiveAnswer } from '../sync/liveAnswer'
import type { ShownMessage } from './threadView'
import type { AnswerState, AnswerView } from './types'

export interface AnswerContext {
  nodeNames: ReadonlyMap<string, string>
  /** Nodes gone so long that their runs show as interrupted (Q8). */
  gone: ReadonlySet<string>
  live: ReadonlyMap<string, LiveAnswer>
}

/** Returns the view of an answer, or null for a message that nobody asked for. */
export function viewAnswer(
  { message, route, isBlocked }: Pick<ShownMessage, 'message' | 'route' | 'isBlocked'>,
  context: AnswerContext,
): AnswerView | null {
  if (message.role !== 'assistant') return null
  const live = context.live.get(message.id) ?? null
  const state = isFinal(message.state) ? message.state : (live?.ended?.state ?? message.state)
  const node = message.request?.node ? toHex(message.request.node) : null
  const name = stateName(message, state, live, node !== null && context.gone.has(node))
  return {
    state: name,
    blocked: name === 'queued' && isBlocked,
    code: state?.code ?? null,
    node,
    nodeName: node === null ? null : (context.nodeNames.get(node) ?? null),
    model: state?.model ?? live?.model ?? message.request?.model ?? null,
    engine: state?.engine ?? live?.engine ?? null,
    route: live?.route ?? route,
    firstTokenMs: state?.first_token_ms ?? null,
    durationMs: state?.duration_ms ?? null,
    tokens: state?.completion_tokens ?? null,
    tokensPerSecond: state === null ? null : speed(state),
    droppedMessages: state?.dropped_messages ?? live?.droppedMessages ?? 0,
    notices: [...(live?.notices ?? [])],
  }
}

function stateName(message: Message, state: State | null, live: LiveAnswer | null, isNodeGone: boolean): AnswerState {
  if (isFinal(state)) return state?.state ?? 'queued'
  const isRunning = state?.state === 'running' || (live?.lastEvent ?? 0) > 0
  if (!isRunning) return message.stop ? 'stopped' : 'queued'
  return isNodeGone ? 'interrupted' : 'running'
}

/** Tokens per second after the first token; null where it can't be told. */
function speed({ completion_tokens: tokens, duration_ms: duration, first_token_ms: first }: State): number | null {
  if (tokens == null || duration == null || first == null || tokens < 2 || duration <= first) return null
  return ((tokens - 1) * 1000) / (duration - first)
}
