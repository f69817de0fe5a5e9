/**
 * Calls to nodes, sealed on every way but this machine's own (rules H). To what lies above they look like fetch: the
 * token, the body and the answer's head are those of the call inside.
 */
import { createParser } from 'eventsource-parser'
import { fromBase64 } from '../protocol/bytes'
import { decodeBody, MESSAGE_PACK } from '../protocol/codec'
import { NoEd25519 } from '../protocol/ed25519'
import { ProblemError } from '../protocol/errors'
import { limits, type Problem, type SealedCall, type SealedReply, type SealingKeys } from '../protocol/generated'
import { CannotOpen, NoSealing, SEALED, sealCall, verifySealingKey, type ReplyOpener } from '../protocol/sealing'
import { call, type Fetch } from './http'
import type { Route } from './router'

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])
const EVENT_STREAM = 'text/event-stream'
/** What a node says in the clear; anything else there comes from a stranger at its address. */
const SAID_OUTSIDE = ['cannot_open', 'body_too_large', 'engine_busy'] as const

/** Somebody answers, and not the node: a captive portal, another PC at its old address. The route is dead. */
export class StrangerError extends ProblemError {
  constructor(detail: string) {
    super('offline', detail)
  }
}

interface Known {
  /** What it signs with, in base64url. */
  nodeKey: string
  key: Uint8Array
  expiresAt: number
  epoch: number
}

export interface SealedCallsOptions {
  fetcher: Fetch
  /** What the relay asks for, outside of the seal. */
  authorization: () => Promise<Record<string, string>>
  /** The time, ms since 1970. */
  now: () => Promise<number>
  randomBytes: (size: number) => Uint8Array
  /** Throws ProblemError for a node that is not to be called. */
  checkNode: (nodeId: string) => Promise<void>
}

export class SealedCalls {
  private readonly known = new Map<string, Known>()

  constructor(private readonly options: SealedCallsOptions) {}

  /** Returns what calls the node over a route. Throws ProblemError, StrangerError where the node is not there. */
  fetcher(route: Route): Fetch {
    if (isOfThisMachine(route)) return this.options.fetcher
    return (input, init = {}) =>
      toProblems(async () => {
        await this.options.checkNode(route.nodeId)
        return this.call(route, (input as string).slice(route.base.length), init)
      })
  }

  /** Returns the key in base64url that the node's id certifies, once it has been met on a way that is sealed. */
  nodeKey(nodeId: string): string | undefined {
    return this.known.get(nodeId)?.nodeKey
  }

  /** Learns the node's key before it is needed. Throws ProblemError. */
  async prepare(route: Route): Promise<void> {
    if (!isOfThisMachine(route)) await toProblems(() => this.keyOf(route, undefined))
  }

  /** A key that the node has dropped and an epoch that has passed are found out by calling: then once more. */
  private async call(route: Route, path: string, init: RequestInit): Promise<Response> {
    const first = await this.once(route, path, init)
    if (first !== null) return first
    const second = await this.once(route, path, init)
    if (second === null) throw new StrangerError('it opens nothing that is sealed for it')
    return second
  }

  /** Returns null when it is to be tried again with what was learned. */
  private async once(route: Route, path: string, init: RequestInit): Promise<Response | null> {
    const { fetcher, randomBytes } = this.options
    const { key, epoch } = await this.keyOf(route, init.signal ?? undefined)
    const inner = callOf(path, init, epoch, randomBytes(limits.SECRET_BYTES))
    const { request, reply } = await sealCall(key, route.nodeId, inner, randomBytes(limits.SEALING_KEY_BYTES))
    const response = await fetcher(`${route.base}/v1/sealed`, {
      method: 'POST',
      headers: { 'Content-Type': SEALED, ...(await this.outside(route)) },
      body: request,
      cache: 'no-store',
      ...(init.signal === undefined ? {} : { signal: init.signal }),
    })
    if (!response.ok) return this.refused(route, response)
    const opened = await openReply(response, reply)
    return (await this.isStale(route, opened)) ? null : opened
  }

  private async keyOf(route: Route, signal: AbortSignal | undefined): Promise<Known> {
    const now = await this.options.now()
    const kept = this.known.get(route.nodeId)
    if (kept !== undefined && now < kept.expiresAt) return kept
    const published = await call(this.options.fetcher, `${route.base}/v1/keys`, {
      headers: await this.outside(route),
      ...(signal === undefined ? {} : { signal }),
    }).catch((error: unknown) => {
      throw strangerUnless(route, error)
    })
    if (!isPublished(published)) throw new CannotOpen('no key is told')
    const key = await verifySealingKey(published, route.nodeId, now / 1000)
    const { epoch, node_key: nodeKey } = published
    const known = { key, nodeKey, expiresAt: now + limits.SEALING_KEY_FRESH_S * 1000, epoch }
    this.known.set(route.nodeId, known)
    return known
  }

  private async outside(route: Route): Promise<Record<string, string>> {
    return route.kind === 'relay' ? this.options.authorization() : {}
  }

  private async refused(route: Route, response: Response): Promise<Response | null> {
    const code = await codeOf(response.clone())
    if (code === 'cannot_open') {
      this.known.delete(route.nodeId)
      return null
    }
    if (route.kind === 'direct' && !SAID_OUTSIDE.some((said) => said === code)) {
      throw new StrangerError(`status ${String(response.status)} outside of the seal`)
    }
    return response
  }

  private async isStale(route: Route, response: Response): Promise<boolean> {
    if (response.status !== 409) return false
    const { code, epoch } = await problemOf(response.clone())
    const known = this.known.get(route.nodeId)
    if (code !== 'stale_epoch' || epoch == null || known === undefined) return false
    known.epoch = epoch
    return true
  }
}

/** What stays on this machine is not sealed: the node's loopback application has the same paths in the clear. */
function isOfThisMachine({ kind, base }: Route): boolean {
  return kind === 'direct' && LOOPBACK.has(new URL(base).hostname)
}

function callOf(path: string, init: RequestInit, epoch: number, secret: Uint8Array): SealedCall {
  const headers = new Headers(init.headers)
  return {
    method: (init.method ?? 'GET') as SealedCall['method'],
    path,
    reply_secret: secret,
    node_epoch: epoch,
    token: headers.get('Authorization')?.replace(/^Bearer /, '') ?? '',
    body: (init.body as Uint8Array | undefined) ?? new Uint8Array(),
    media_type: MESSAGE_PACK,
    last_event: headers.get('Last-Event-ID') ?? '',
  }
}

/** Returns the answer inside. Throws CannotOpen. */
async function openReply(response: Response, reply: ReplyOpener): Promise<Response> {
  if (response.headers.get('Content-Type')?.startsWith(EVENT_STREAM) ?? false) return openStream(response, reply)
  const {
    status,
    content_type: contentType,
    body,
  } = replyOf(await reply.open(new Uint8Array(await response.arrayBuffer())))
  if (!reply.isComplete) throw new CannotOpen('the reply was cut')
  const content = status === 204 ? null : new Uint8Array(body ?? [])
  return new Response(content, { status, headers: { 'Content-Type': contentType ?? '' } })
}

async function openStream(response: Response, reply: ReplyOpener): Promise<Response> {
  const chunks = chunksOf(response, reply)
  const first = await chunks.next()
  if (first.done) throw new CannotOpen('the reply was cut')
  const { status, content_type: contentType } = replyOf(first.value)
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      await chunks.return(undefined)
    },
  })
  return new Response(body, { status, headers: { 'Content-Type': contentType ?? '' } })
}

async function* chunksOf(response: Response, reply: ReplyOpener): AsyncGenerator<Uint8Array, undefined> {
  const reader = (response.body ?? new Blob().stream()).getReader()
  const sealed: string[] = []
  const parser = createParser({ onEvent: ({ data }) => sealed.push(data) })
  const decoder = new TextDecoder()
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      parser.feed(decoder.decode(read.value, { stream: true }))
      for (const data of sealed.splice(0)) yield await reply.open(decodedBase64(data))
    }
    if (!reply.isComplete) throw new CannotOpen('the reply was cut')
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

function decodedBase64(data: string): Uint8Array {
  try {
    return fromBase64(data)
  } catch {
    throw new CannotOpen('no base64')
  }
}

function replyOf(chunk: Uint8Array): SealedReply {
  try {
    return decodeBody(chunk) as SealedReply
  } catch (error) {
    throw new CannotOpen(error instanceof Error ? error.message : 'sealed, but no reply')
  }
}

async function codeOf(response: Response): Promise<string | undefined> {
  return (await problemOf(response)).code
}

async function problemOf(response: Response): Promise<Partial<Problem>> {
  return (await response.json().catch(() => ({}))) as Partial<Problem>
}

/** The relay's refusals are the server's; at a node's own address nobody but the node speaks. */
function strangerUnless(route: Route, error: unknown): unknown {
  const isStranger = route.kind === 'direct' && error instanceof ProblemError && error.code !== 'offline'
  return isStranger ? new StrangerError(error.message) : error
}

async function toProblems<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CannotOpen) throw new StrangerError(error.message)
    if (error instanceof NoSealing || error instanceof NoEd25519) {
      throw new ProblemError('sealing_unavailable', error.message)
    }
    throw error
  }
}

function isPublished(value: unknown): value is SealingKeys {
  const { node_key: nodeKey, signed, epoch } = (value ?? {}) as Partial<SealingKeys>
  return typeof nodeKey === 'string' && typeof signed === 'string' && Number.isSafeInteger(epoch)
}
