/** A node in memory: runs with numbered events that a test lets go on step by step. */
import { decode } from '@msgpack/msgpack'
import { fromHex, toHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { eventId } from '../../src/protocol/events'
import {
  EntityType,
  MessageField,
  type Change,
  type RunEvent,
  type StartAnswer,
  type State,
} from '../../src/protocol/generated'
import { encodeValue } from '../../src/protocol/values'
import { EventStreams } from './eventStreams'
import { problem, reply } from './fakeServer'

const NODE_DEVICE = fromHex('ee'.repeat(8))

interface Run {
  conversation: Uint8Array
  events: RunEvent[]
  streams: EventStreams
}

export class FakeNode {
  isUp = true
  /** Requests that it takes and whose replies are lost on the way. */
  lostReplies = 0
  private written = 0
  readonly runs = new Map<string, Run>()
  readonly starts: StartAnswer[] = []
  readonly stops: string[] = []

  handle(path: string, init: RequestInit): Response {
    if (!this.isUp) throw new TypeError('fetch failed')
    if (path === '/healthz') return reply({})
    if (path === '/v1/answers') return this.start(decode(init.body as Uint8Array) as StartAnswer)
    const [, answer = '', action] = /^\/v1\/answers\/([0-9a-f]+)\/(events|stop)$/.exec(path) ?? []
    const run = this.runs.get(answer)
    if (run === undefined) return problem(404, 'answer_unknown')
    if (action === 'stop') {
      this.stops.push(answer)
      return new Response(null, { status: 204 })
    }
    const last = Number(new Headers(init.headers).get('Last-Event-ID')?.split(':')[1] ?? 0)
    const missed = run.events.slice(last).map((event, index) => sse(answer, last + index + 1, event))
    return run.streams.open(init.signal ?? undefined, missed)
  }

  /** Claims an answer as from the log. */
  claim(answer: string, conversation: string): void {
    if (!this.runs.has(answer)) {
      this.runs.set(answer, { conversation: fromHex(conversation), events: [], streams: new EventStreams() })
    }
  }

  emit(answer: string, event: RunEvent): void {
    const run = this.runs.get(answer)
    if (run === undefined) throw new Error('no such run')
    run.events.push(event)
    const { data } = sse(answer, run.events.length, event)
    run.streams.send(event.kind, data, eventId(answer, run.events.length))
  }

  say(answer: string, ...texts: string[]): void {
    for (const text of texts) this.emit(answer, { kind: 'text', text })
  }

  /** Ends a run and returns the changes that the node writes. */
  end(answer: string, state: State['state'] = 'done'): Change[] {
    const run = this.runs.get(answer)
    const texts = run?.events.map((event) => (event.kind === 'text' ? event.text : '')) ?? []
    const changes = [
      this.change(answer, MessageField.BODY, texts.join('')),
      this.change(answer, MessageField.STATE, { state, completion_tokens: 21, first_token_ms: 100, duration_ms: 1100 }),
    ]
    this.emit(answer, { kind: 'ended', state: { state }, changes })
    return changes
  }

  change(answer: string, field: number, value: unknown): Change {
    this.written += 1
    const run = this.runs.get(answer)
    const scope = run?.conversation ?? new Uint8Array(16)
    return [
      pack(Date.now(), this.written, NODE_DEVICE),
      EntityType.MESSAGE,
      fromHex(answer),
      field,
      scope,
      0,
      encodeValue(value),
    ]
  }

  /** Breaks every stream of every run. */
  cut(): void {
    for (const run of this.runs.values()) run.streams.cut()
  }

  stop(): void {
    this.isUp = false
    this.cut()
  }

  private start(body: StartAnswer): Response {
    this.starts.push(body)
    this.claim(toHex(body.answer), toHex(body.conversation))
    if (this.lostReplies > 0) {
      this.lostReplies -= 1
      throw new TypeError('fetch failed')
    }
    return reply({ answer: body.answer, state: 'running' })
  }
}

function sse(answer: string, number: number, event: RunEvent): { id: string; event: string; data: object } {
  return { id: eventId(answer, number), event: event.kind, data: event }
}
