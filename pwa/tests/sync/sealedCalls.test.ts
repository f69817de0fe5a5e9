/** Calls to nodes as they travel (rules H). */
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { ProblemError } from '../../src/protocol/errors'
import { readEvents } from '../../src/sync/eventStream'
import { call, type Fetch } from '../../src/sync/http'
import type { Route } from '../../src/sync/router'
import { SealedCalls, StrangerError } from '../../src/sync/sealedCalls'
import { problem, reply } from './fakeServer'
import { NodeKey, SealedDoor } from './sealedDoor'

const KEY = new NodeKey(7)
const NODE = KEY.nodeId
const LAN: Route = { kind: 'direct', nodeId: NODE, base: 'http://192.168.1.34:8461' }
const HERE: Route = { kind: 'direct', nodeId: NODE, base: 'http://localhost:8461' }
const RELAY: Route = { kind: 'relay', nodeId: NODE, base: `/relay/${NODE}` }
const WORDS = 'what nobody else may read'
const EVENTS = [': ping\n\n', 'id: a:1\nevent: text\ndata: {"text":"one"}\n\n', 'id: a:2\ndata: two\n\n']

interface Sent {
  url: string
  init: RequestInit
}

describe('a call to a node', () => {
  let door: SealedDoor
  let sent: Sent[]
  let inTheWay: (response: Response, url: string) => Response | Promise<Response>
  let strange: boolean
  let calls: SealedCalls

  beforeEach(() => {
    door = new SealedDoor(KEY, (path, init) => {
      if (path === '/v1/events')
        return new Response(EVENTS.join(''), { headers: { 'Content-Type': 'text/event-stream' } })
      if (path === '/v1/none') return new Response(null, { status: 204 })
      if (path === '/v1/refused') return problem(401, 'token_expired')
      return reply({ path, said: WORDS, token: new Headers(init.headers).get('Authorization') })
    })
    sent = []
    inTheWay = (response) => response
    strange = false
    const fetcher: Fetch = async (input, init = {}) => {
      const url = input as string
      sent.push({ url, init })
      const { base } = [LAN, HERE, RELAY].find((route) => url.startsWith(route.base)) ?? LAN
      return inTheWay(await door.handle(url.slice(base.length), init), url)
    }
    calls = new SealedCalls({
      fetcher,
      authorization: () => Promise.resolve({ Authorization: 'Bearer for the relay' }),
      now: () => Promise.resolve(Date.now()),
      randomBytes: (size) => crypto.getRandomValues(new Uint8Array(size)),
      checkNode: () => (strange ? Promise.reject(new ProblemError('node_key_changed')) : Promise.resolve()),
    })
  })

  const ask = (route: Route, path = '/v1/status') =>
    call(calls.fetcher(route), route.base + path, {
      method: 'POST',
      body: { said: WORDS },
      headers: { Authorization: 'Bearer for the node' },
    })

  async function events(route: Route): Promise<string[]> {
    const { signal } = new AbortController()
    const heard = []
    const request = { url: `${route.base}/v1/events`, headers: { 'Last-Event-ID': 'a:0' }, signal }
    for await (const { data } of readEvents(calls.fetcher(route), request)) heard.push(data)
    return heard
  }

  it.each([LAN, RELAY])('H1 by $kind shows nothing but that it is one', async (route) => {
    const answer = await ask(route, '/v1/library?all=1')
    expect(answer).toEqual({ path: '/v1/library?all=1', said: WORDS, token: 'Bearer for the node' })
    expect(sent.map(({ url }) => url.slice(route.base.length))).toEqual(['/v1/keys', '/v1/sealed'])
    for (const { init } of sent) {
      const outside =
        JSON.stringify(init.headers) + Buffer.from((init.body as Uint8Array | undefined) ?? []).toString('latin1')
      expect(outside).not.toMatch(/for the node|may read|library/)
      expect(outside.includes('for the relay')).toBe(route.kind === 'relay')
    }
    expect((sent[1]?.init.body as Uint8Array).length % 64).toBe(32 + 16)
  })

  it('H1 on this machine stays in the clear', async () => {
    await ask(HERE).catch(() => undefined)
    expect(sent.map(({ url }) => url)).toEqual([`${HERE.base}/v1/status`])
  })

  it('H5 has the inner answer, whatever it is', async () => {
    expect(await ask(LAN, '/v1/none')).toBeUndefined()
    await expect(ask(LAN, '/v1/refused')).rejects.toMatchObject({ code: 'token_expired' })
    expect(await events(LAN)).toEqual(['{"text":"one"}', 'two'])
    expect(door.calls.at(-1)).toMatchObject({ method: 'GET', path: '/v1/events', last_event: 'a:0' })
  })

  it('H4 in an epoch that is over is sealed once more, and not a third time', async () => {
    await ask(LAN)
    door.epoch += 7
    await ask(LAN)
    expect(door.calls.map(({ node_epoch: epoch }) => epoch)).toEqual([1_000, 1_000, 1_007])
    door.epoch += 1
    inTheWay = (response) => {
      door.epoch += 1
      return response
    }
    await expect(ask(LAN)).rejects.toThrow(StrangerError)
    expect(door.calls).toHaveLength(5)
  })

  it('H3 to a node that has started anew learns its new key', async () => {
    await ask(LAN)
    door.restart()
    expect(await ask(LAN)).toMatchObject({ said: WORDS })
  })

  it.each<[string, (response: Response, url: string) => Response | Promise<Response>]>([
    ['a captive portal', () => new Response('<html>', { headers: { 'Content-Type': 'text/html' } })],
    ['a portal that refuses', () => new Response('no', { status: 511 })],
    ['a stranger with our words', () => problem(401, 'device_revoked')],
    ['an old node that does not seal', (response, url) => (url.endsWith('keys') ? response : reply({ said: 'lies' }))],
    ['an empty answer', (response, url) => (url.endsWith('keys') ? response : new Response(''))],
    ['another node', async () => reply(await new SealedDoor(new NodeKey(8), () => reply({})).published())],
    ['a key of the day before yesterday', async () => reply(await door.published(Date.now() / 1000 - 2 * 86_400 - 61))],
    [
      "the node's record with another key in it",
      async (response, url) => {
        const { signed } = await new SealedDoor(new NodeKey(8), () => reply({})).published()
        return url.endsWith('keys') ? reply({ ...(await door.published()), signed }) : response
      },
    ],
  ])('of %s is a dead route', async (_, stranger) => {
    inTheWay = stranger
    await expect(ask(LAN)).rejects.toMatchObject({ code: 'offline' })
    await expect(events(LAN)).rejects.toMatchObject({ code: 'offline' })
    expect(door.calls.every(({ token }) => token === 'for the node' || token === '')).toBe(true)
  })

  it("H6 the relay's own refusals are the server's", async () => {
    inTheWay = () => problem(401, 'token_expired')
    await expect(ask(RELAY)).rejects.toMatchObject({ code: 'token_expired' })
    inTheWay = () => problem(503, 'node_unreachable')
    await expect(ask(RELAY)).rejects.toMatchObject({ code: 'node_unreachable' })
  })

  it('H7 nothing is sent to a node that stands in the place of another', async () => {
    strange = true
    await expect(ask(LAN)).rejects.toMatchObject({ code: 'node_key_changed' })
    expect(sent).toEqual([])
  })

  it('H5 a reply that was changed anywhere is no reply, and never another one', async () => {
    await ask(LAN)
    const change = fc.record({ at: fc.nat(), by: fc.integer({ min: 1, max: 255 }), cut: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(change, async ({ at, by, cut }) => {
        inTheWay = async (response) => {
          const bytes = new Uint8Array(await response.arrayBuffer())
          const place = at % bytes.length
          bytes[place] = (bytes[place] ?? 0) ^ by
          return new Response(cut ? bytes.slice(0, place) : bytes, { headers: response.headers })
        }
        await expect(ask(LAN)).rejects.toThrow(StrangerError)
      }),
      { numRuns: 60 },
    )
  })

  it('H5 a stream that was cut, reordered or doubled gives a part of itself, and then an error', async () => {
    await ask(LAN)
    const picks = fc.array(fc.nat({ max: 3 }), { maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(picks, async (order) => {
        inTheWay = async (response) => {
          const whole = (await response.text()).split('\n\n').slice(0, -1)
          const changed = order.map((index) => whole[index % whole.length] ?? '')
          return new Response(changed.map((event) => `${event}\n\n`).join(''), { headers: response.headers })
        }
        const heard: string[] = []
        const { signal } = new AbortController()
        const request = { url: `${LAN.base}/v1/events`, headers: {}, signal }
        const reading = (async () => {
          for await (const { data } of readEvents(calls.fetcher(LAN), request)) heard.push(data)
        })()
        // Head and events in one chunk, and the end.
        const isWhole = order.length >= 3 && order.slice(0, 3).every((index, place) => index % 3 === place)
        if (isWhole && order.length === 3) await reading
        else await expect(reading).rejects.toMatchObject({ code: 'offline' })
        expect(['{"text":"one"}', 'two'].slice(0, heard.length)).toEqual(heard)
      }),
      { numRuns: 60 },
    )
  })
})
