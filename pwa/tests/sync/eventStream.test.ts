import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { readEvents, SILENCE_MS } from '../../src/sync/eventStream'
import type { Fetch } from '../../src/sync/http'
import { problem } from './fakeServer'

const HEADERS = { 'Content-Type': 'text/event-stream' }

async function collect(fetcher: Fetch, signal = new AbortController().signal): Promise<string[]> {
  const seen: string[] = []
  for await (const { id, data } of readEvents(fetcher, { url: '/events', headers: {}, signal })) {
    seen.push(`${id ?? ''} ${data}`)
  }
  return seen
}

function streaming(pull: (controller: ReadableStreamDefaultController<Uint8Array>) => void): Fetch {
  return (_input, init) =>
    Promise.resolve(
      new Response(
        new ReadableStream<Uint8Array>({
          start(controller) {
            init?.signal?.addEventListener('abort', () => {
              controller.error(new DOMException('aborted', 'AbortError'))
            })
            pull(controller)
          },
        }),
        { headers: HEADERS },
      ),
    )
}

afterEach(() => {
  vi.useRealTimers()
})

describe('events', () => {
  it('are the same however their bytes are cut into pieces', async () => {
    const texts = ['Привет', '🔥 fire', 'line\\nline', '']
    const bytes = new TextEncoder().encode(
      texts.map((text, index) => `id: ${String(index)}\ndata: ${text}\n\n`).join(''),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: bytes.length }), { maxLength: 12 }), async (cuts) => {
        const edges = [0, ...cuts.sort((left, right) => left - right), bytes.length]
        const seen = await collect(
          streaming((controller) => {
            edges.forEach((edge, index) => {
              if (index > 0) controller.enqueue(bytes.slice(edges[index - 1], edge))
            })
            controller.close()
          }),
        )
        expect(seen).toEqual(texts.map((text, index) => `${String(index)} ${text}`))
      }),
    )
  })
})

describe('ends', () => {
  it('a broken stream is offline', async () => {
    const fetcher = streaming((controller) => {
      controller.error(new TypeError('network'))
    })
    await expect(collect(fetcher)).rejects.toMatchObject({ code: 'offline' })
  })

  it('a refusal keeps its code', async () => {
    await expect(collect(() => Promise.resolve(problem(410, 'events_gone')))).rejects.toMatchObject({
      code: 'events_gone',
    })
  })

  it('a page of a captive portal is offline', async () => {
    const portal = () => Promise.resolve(new Response('<html>', { headers: { 'Content-Type': 'text/html' } }))
    await expect(collect(portal)).rejects.toMatchObject({ code: 'offline' })
  })

  it('an abort of the reader’s own ends it quietly', async () => {
    const controller = new AbortController()
    const reading = collect(
      streaming(() => undefined),
      controller.signal,
    )
    controller.abort()
    await expect(reading).resolves.toEqual([])
  })

  it('silence for 25 s is offline, while any byte counts as life', async () => {
    vi.useFakeTimers()
    let stream: ReadableStreamDefaultController<Uint8Array> | undefined
    const reading = collect(
      streaming((controller) => {
        stream = controller
      }),
    )
    const settled = vi.fn()
    reading.then(settled, settled)
    for (let ping = 0; ping < 5; ping += 1) {
      await vi.advanceTimersByTimeAsync(SILENCE_MS - 1_000)
      stream?.enqueue(new TextEncoder().encode(': ping\n\n'))
    }
    expect(settled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(SILENCE_MS)
    await expect(reading).rejects.toMatchObject({ code: 'offline' })
  })
})
