/** Calls to the server and to nodes: MessagePack both ways, problems as ProblemError, silence as `offline` (W1, W2). */
import { decodeBody, encodeBody, MESSAGE_PACK } from '../protocol/codec'
import { ProblemError } from '../protocol/errors'
import { ERROR_CODES, type ErrorCode, type Problem } from '../protocol/generated'

export type Fetch = typeof globalThis.fetch

export interface Call {
  method?: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Encoded as MessagePack; bytes are that already. */
  body?: object
  headers?: Record<string, string>
  signal?: AbortSignal
  /** How long to wait for the whole answer, ms. */
  timeoutMs?: number
}

const CALL_TIMEOUT_MS = 20_000
/** Chromium hands large bytes from process to process in one message: half a megabyte takes 57 ms so, as a Blob 12. */
const BLOB_FROM_BYTES = 64 * 1024
const EVENT_STREAM = 'text/event-stream'

/** Makes one call and returns its decoded body, whose shape the other side's schema promises. Throws ProblemError with the answer's code, or `offline`. */
export async function call(fetcher: Fetch, url: string, options: Call = {}): Promise<unknown> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? CALL_TIMEOUT_MS)
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
  const response = await send(fetcher, url, options, signal, MESSAGE_PACK)
  const bytes = new Uint8Array(await orOffline(() => response.arrayBuffer(), options.signal))
  return bytes.length === 0 ? undefined : decoded(response, bytes)
}

/** A success that is neither MessagePack nor JSON comes from a captive portal or the like: Domovoi did not answer. */
function decoded(response: Response, bytes: Uint8Array): unknown {
  const isMessagePack = response.headers.get('Content-Type')?.startsWith(MESSAGE_PACK) ?? false
  try {
    return isMessagePack ? decodeBody(bytes) : JSON.parse(new TextDecoder().decode(bytes))
  } catch (error) {
    throw new ProblemError('offline', error instanceof Error ? error.message : 'the answer can not be read')
  }
}

/** Opens an event stream; its body has not been read. Throws ProblemError, `offline` for any other content. */
export async function openStream(
  fetcher: Fetch,
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  const response = await send(fetcher, url, { headers, signal }, signal, EVENT_STREAM)
  if (response.headers.get('Content-Type')?.startsWith(EVENT_STREAM)) return response
  throw new ProblemError('offline', 'the answer is no event stream')
}

async function send(
  fetcher: Fetch,
  url: string,
  options: Call,
  signal: AbortSignal,
  accept: string,
): Promise<Response> {
  const { method = 'GET', body, headers = {} } = options
  const contentType: Record<string, string> = body === undefined ? {} : { 'Content-Type': MESSAGE_PACK }
  const init: RequestInit = {
    method,
    headers: { Accept: accept, ...contentType, ...headers },
    signal,
    cache: 'no-store',
    ...(body === undefined ? {} : { body: sendable(body) }),
  }
  const response = await orOffline(() => fetcher(url, init), options.signal)
  if (response.ok) return response
  throw await problemOf(response)
}

function sendable(body: object): Blob | Uint8Array<ArrayBuffer> {
  const bytes = (body instanceof Uint8Array ? body : encodeBody(body)) as Uint8Array<ArrayBuffer>
  return bytes.length < BLOB_FROM_BYTES ? bytes : new Blob([bytes])
}

/** Runs `work`; a failure that the caller's own signal did not cause means that nothing answers. */
async function orOffline<Result>(work: () => Promise<Result>, callerSignal: AbortSignal | undefined): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (callerSignal?.aborted === true || error instanceof ProblemError) throw error
    throw new ProblemError('offline', error instanceof Error ? error.message : 'offline')
  }
}

/** An error without our code comes from something between us and Domovoi, so Domovoi itself did not answer. */
async function problemOf(response: Response): Promise<ProblemError> {
  const text = await response.text().catch(() => '')
  const isProblem = response.headers.get('Content-Type')?.startsWith('application/problem+json') ?? false
  const problem = isProblem ? parseProblem(text) : null
  if (problem === null) return new ProblemError('offline', `status ${String(response.status)}`)
  const code: ErrorCode = ERROR_CODES.find((known) => known === problem.code) ?? 'internal'
  return new ProblemError(code, problem.detail, problem)
}

/** Returns null for one that was cut on its way. */
function parseProblem(text: string): Problem | null {
  try {
    return JSON.parse(text) as Problem
  } catch {
    return null
  }
}
