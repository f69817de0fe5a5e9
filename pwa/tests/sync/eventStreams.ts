/** Server-sent events for tests, with streams that can be cut. */
import { toBase64 } from './base64'

export interface StreamEvent {
  id?: string
  event: string
  data: object
}

export class EventStreams {
  private readonly open_ = new Set<ReadableStreamDefaultController<Uint8Array>>()
  opened = 0

  get count(): number {
    return this.open_.size
  }

  /** Opens a stream that begins with `first`; `isLast` says after which event it ends by itself. */
  open(signal: AbortSignal | undefined, first: readonly StreamEvent[] = []): Response {
    this.opened += 1
    let controller: ReadableStreamDefaultController<Uint8Array>
    const body = new ReadableStream<Uint8Array>({
      start: (started) => {
        controller = started
        this.open_.add(started)
        for (const event of first) started.enqueue(encoded(event))
        signal?.addEventListener('abort', () => {
          if (this.open_.delete(controller)) controller.error(signal.reason)
        })
      },
      cancel: () => {
        this.open_.delete(controller)
      },
    })
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  }

  send(event: string, data: object, id?: string): void {
    for (const controller of this.open_)
      controller.enqueue(encoded({ event, data, ...(id === undefined ? {} : { id }) }))
  }

  /** Breaks every open stream, as a killed process does. */
  cut(): void {
    for (const controller of this.open_) controller.error(new TypeError('terminated'))
    this.open_.clear()
  }
}

function encoded({ id, event, data }: StreamEvent): Uint8Array {
  const json = JSON.stringify(data, (_key, value: unknown) => (value instanceof Uint8Array ? toBase64(value) : value))
  return new TextEncoder().encode(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${json}\n\n`)
}
