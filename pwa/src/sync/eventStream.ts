/** Reading server-sent events with fetch, because EventSource can send no Authorization header. */
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { ProblemError } from '../protocol/errors'
import { openStream, type Fetch } from './http'

/** A stream sends something every 10 s; silence for this long means that it is dead. */
export const SILENCE_MS = 25_000

export interface StreamRequest {
  url: string
  headers: Record<string, string>
  signal: AbortSignal
}

/**
 * Yields events until the stream ends. Any byte counts as life. Throws ProblemError: `offline` when the stream
 * breaks or falls silent, else the code with which it was refused. Ends quietly when `signal` is aborted.
 */
export async function* readEvents(fetcher: Fetch, request: StreamRequest): AsyncGenerator<EventSourceMessage> {
  const silence = new AbortController()
  const signal = AbortSignal.any([request.signal, silence.signal])
  const alive = async <Result>(work: Promise<Result>): Promise<Result> => {
    // Only waiting is timed: a reader that is busy with what it got does not make the stream silent.
    const timer = setTimeout(() => {
      silence.abort()
    }, SILENCE_MS)
    return work.finally(() => {
      clearTimeout(timer)
    })
  }
  try {
    const response = await alive(openStream(fetcher, request.url, request.headers, signal))
    if (response.body === null) throw new ProblemError('offline', 'the stream has no body')
    yield* parsed(response.body.getReader(), alive)
  } catch (error) {
    if (request.signal.aborted) return
    if (error instanceof ProblemError) throw error
    throw new ProblemError('offline', error instanceof Error ? error.message : 'the stream broke')
  } finally {
    silence.abort()
  }
}

async function* parsed(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  alive: <Result>(work: Promise<Result>) => Promise<Result>,
): AsyncGenerator<EventSourceMessage> {
  const complete: EventSourceMessage[] = []
  const parser = createParser({ onEvent: (event) => complete.push(event) })
  const decoder = new TextDecoder()
  for (let chunk = await alive(reader.read()); !chunk.done; chunk = await alive(reader.read())) {
    parser.feed(decoder.decode(chunk.value, { stream: true }))
    yield* complete.splice(0)
  }
}
