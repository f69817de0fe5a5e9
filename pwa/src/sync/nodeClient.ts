/**
 * Calls to a node on a route: start, watch and stop an answer, and whatever else it does. The node's token opens that
 * node alone (K3), and whatever leaves this machine is sealed (H1).
 */
import type { AccountDatabase } from '../local/database'
import { decodeRunEvent } from '../protocol/codec'
import { hasCode, ProblemError } from '../protocol/errors'
import { parseEventId, eventId } from '../protocol/events'
import type { AnswerStarted, RunEvent, StartAnswer } from '../protocol/generated'
import { readEvents } from './eventStream'
import { call, type Call } from './http'
import { NodeTokens } from './nodeTokens'
import type { Route } from './router'
import type { SealedCalls } from './sealedCalls'
import type { Server } from './server'

export class NodeClient {
  private readonly tokens: NodeTokens

  constructor(
    db: AccountDatabase,
    private readonly server: Server,
    private readonly calls: SealedCalls,
  ) {
    this.tokens = new NodeTokens(db, server, calls)
  }

  /** Gets key and token of a node before they are needed: Direct shall work when the server goes away a moment later. */
  async prepare(route: Route): Promise<void> {
    try {
      await this.calls.prepare(route)
      await this.tokens.token(route)
    } catch (error) {
      // Whoever needs it asks again.
      if (!(error instanceof ProblemError)) throw error
    }
  }

  /** Starts an answer, or attaches to its run (Q2). */
  async start(route: Route, body: StartAnswer, signal: AbortSignal): Promise<AnswerStarted> {
    const started = await this.withToken(route, (headers) =>
      call(this.calls.fetcher(route), `${route.base}/v1/answers`, { method: 'POST', body, headers, signal }),
    )
    return started as AnswerStarted
  }

  async stop(route: Route, answer: string): Promise<void> {
    await this.withToken(route, (headers) =>
      call(this.calls.fetcher(route), `${route.base}/v1/answers/${answer}/stop`, { method: 'POST', headers }),
    )
  }

  /** Makes another call of the node's API. */
  async ask(route: Route, path: string, options: Pick<Call, 'method' | 'body'>): Promise<unknown> {
    return this.withToken(route, (headers) =>
      call(this.calls.fetcher(route), route.base + path, { ...options, headers }),
    )
  }

  /** Yields the events of another stream of the node's. */
  async *watch(route: Route, path: string, signal: AbortSignal): AsyncGenerator<{ data: string }> {
    const headers = await this.headers(route)
    yield* readEvents(this.calls.fetcher(route), { url: route.base + path, headers, signal })
  }

  /** Yields the answer's events after number `after`. Throws ProblemError when the stream is refused or breaks. */
  async *events(
    route: Route,
    answer: string,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<{ number: number; event: RunEvent }> {
    const headers: Record<string, string> = await this.headers(route)
    if (after > 0) headers['Last-Event-ID'] = eventId(answer, after)
    const url = `${route.base}/v1/answers/${answer}/events`
    try {
      for await (const { id, data } of readEvents(this.calls.fetcher(route), { url, headers, signal })) {
        const number = parseEventId(id ?? '', answer)
        if (number === null) throw new ProblemError('offline', 'an event without its number')
        yield { number, event: decodeRunEvent(data) }
      }
    } catch (error) {
      if (isTokenProblem(error)) await this.dropTokens(route)
      throw error
    }
  }

  private async withToken<Result>(
    route: Route,
    work: (headers: Record<string, string>) => Promise<Result>,
  ): Promise<Result> {
    try {
      return await work(await this.headers(route))
    } catch (error) {
      if (!isTokenProblem(error)) throw error
      await this.dropTokens(route)
      return work(await this.headers(route))
    }
  }

  private async headers(route: Route): Promise<Record<string, string>> {
    return { Authorization: `Bearer ${await this.tokens.token(route)}` }
  }

  /** A relayed call carries two tokens, one inside and one outside, and either may be the one that is refused. */
  private async dropTokens(route: Route): Promise<void> {
    if (route.kind === 'relay') this.server.forgetToken()
    await this.tokens.drop(route.nodeId)
  }
}

function isTokenProblem(error: unknown): error is ProblemError {
  return hasCode(error, 'token_missing', 'token_invalid', 'token_expired')
}
