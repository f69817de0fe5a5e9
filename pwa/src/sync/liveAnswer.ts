/** The text of an answer while it comes: in memory alone, because nothing per token is ever stored. */
import { toHex } from '../protocol/bytes'
import { MessageField, type Ended, type RunEvent } from '../protocol/generated'
import { readText } from '../protocol/values'
import type { RouteKind } from './router'

export interface LiveAnswer {
  readonly id: string
  readonly conversation: string
  text: string
  /** Number of the last event applied; 0 before the first. */
  lastEvent: number
  /** The node has accepted the request. */
  accepted: boolean
  model: string | null
  engine: string | null
  droppedMessages: number
  notices: readonly string[]
  route: RouteKind
  ended: Ended | null
}

export function newLiveAnswer(id: string, conversation: string, route: RouteKind): LiveAnswer {
  return {
    id,
    conversation,
    text: '',
    lastEvent: 0,
    accepted: false,
    model: null,
    engine: null,
    droppedMessages: 0,
    notices: [],
    route,
    ended: null,
  }
}

/**
 * Applies the `number`-th event and returns true; an event seen before changes nothing (S3). Returns false for
 * one that leaves a gap: the watcher asks again after the last event it has.
 */
export function applyEvent(live: LiveAnswer, number: number, event: RunEvent): boolean {
  if (number <= live.lastEvent) return true
  if (number !== live.lastEvent + 1) return false
  live.lastEvent = number
  live.accepted = true
  switch (event.kind) {
    case 'started':
      live.model = event.model
      live.engine = event.engine
      live.droppedMessages = event.dropped_messages ?? 0
      break
    case 'text':
      live.text += event.text
      break
    case 'notice':
      live.notices = [...live.notices, event.code]
      break
    case 'ended':
      live.ended = event
      reportDifference(live, event)
      break
  }
  return true
}

/** The body that the node wrote is what stays; that it is not what was streamed is a fault to be heard of (S2). */
function reportDifference(live: LiveAnswer, { changes }: Ended): void {
  const body = changes.find(([, , eid, field]) => field === MessageField.BODY && toHex(eid) === live.id)
  if (body !== undefined && readText(body[6]) !== live.text) {
    console.error(`The answer ${live.id} was streamed otherwise than it was written.`)
  }
}
