import { describe, expect, it, onTestFinished } from 'vitest'
import type { Candidate, Node } from '../../src/protocol/generated'
import { ProblemError } from '../../src/protocol/errors'
import { Router, type RouterOptions } from '../../src/sync/router'
import { goneNodes, preferredNode } from '../../src/sync/nodes'
import { problem } from './fakeServer'
import { eventually } from './house'

const NODE = 'ab'.repeat(16)

function node(candidates: Candidate[], awake = true, id = NODE): Node {
  return {
    node_id: id,
    name: 'PC',
    awake,
    since_ms: 0,
    level: 'use',
    status: { name: 'PC', engine_state: 'ready', candidates },
  }
}

interface Setup {
  pageHost?: string
  isVisible?: () => boolean
  /** Addresses that answer. */
  living: Set<string>
  answer?: () => Response
}

function started({ pageHost = 'localhost', isVisible = () => true, living, answer = () => new Response(null) }: Setup) {
  const asked: string[] = []
  const server = {
    origin: '',
    ping: () => (living.has('server') ? Promise.resolve(5) : Promise.reject(new ProblemError('offline'))),
    authorization: () => Promise.resolve({ Authorization: 'Bearer sync' }),
  } as unknown as RouterOptions['server']
  const fetcher: RouterOptions['fetcher'] = (input) => {
    const base = (input as string).replace('/healthz', '')
    asked.push(base)
    return living.has(base) ? Promise.resolve(answer()) : Promise.reject(new TypeError('refused'))
  }
  const router = new Router({ fetcher, server, pageHost, isVisible })
  const stopping = new AbortController()
  void router.run(stopping.signal)
  onTestFinished(() => {
    stopping.abort()
  })
  return { router, asked }
}

const HERE: Candidate = { scheme: 'http', host: 'localhost', port: 8461, kind: 'loopback' }
const DIRECT = 'http://localhost:8461'
const RELAY = `/relay/${NODE}`

describe('routes to a node', () => {
  it('takes Direct from the PC’s own browser', async () => {
    const { router } = started({ living: new Set([DIRECT, RELAY, 'server']) })
    router.setNodes([node([HERE])])
    await eventually(() => {
      expect(router.best(NODE)).toEqual({ kind: 'direct', nodeId: NODE, base: DIRECT })
      expect(router.state.serverMs).toBe(5)
    })
  })

  it.each([
    ['a page from elsewhere', 'domovoi.example', HERE],
    ['an address that is not loopback', 'localhost', { ...HERE, host: '192.168.1.20', kind: 'lan' as const }],
  ])('never sends a call in the clear beyond loopback: %s', async (_name, pageHost, candidate) => {
    const address = `http://${candidate.host}:8461`
    const { router, asked } = started({ pageHost, living: new Set([RELAY, address]) })
    router.setNodes([node([candidate])])
    await eventually(() => {
      expect(router.best(NODE)?.kind).toBe('relay')
    })
    expect(asked).not.toContain(address)
  })

  it('goes over to Relay when Direct breaks, and back when it answers again', async () => {
    const living = new Set([DIRECT, RELAY])
    const { router } = started({ living })
    router.setNodes([node([HERE])])
    await eventually(() => {
      expect(router.best(NODE)?.kind).toBe('direct')
    })
    living.delete(DIRECT)
    router.reportFailure({ kind: 'direct', nodeId: NODE, base: DIRECT })
    await eventually(() => {
      expect(router.best(NODE)?.kind).toBe('relay')
    })
    living.add(DIRECT)
    // Its failures count against it until ten probes have pushed them out.
    await eventually(() => {
      router.probeNow()
      expect(router.best(NODE)?.kind).toBe('direct')
    })
  })

  it.each(['engine_unavailable', 'engine_loading', 'out_of_memory'])(
    'a node with %s is reached all the same',
    async (code) => {
      const { router } = started({ living: new Set([RELAY]), answer: () => problem(503, code) })
      router.setNodes([node([])])
      await eventually(() => {
        expect(router.best(NODE)?.kind).toBe('relay')
      })
    },
  )

  it('a hidden page probes only when something asks', async () => {
    const { router, asked } = started({ isVisible: () => false, living: new Set([RELAY]) })
    router.setNodes([node([])])
    await eventually(() => {
      // The first call warms the way, the second one times it.
      expect(asked).toEqual([RELAY, RELAY])
    })
    router.setNodes([node([])])
    router.probeNow()
    await eventually(() => {
      expect(asked).toEqual([RELAY, RELAY, RELAY])
    })
  })
})

describe('choosing a node', () => {
  const [asleep, awake, reachable] = [node([], false, '01'), node([], true, '02'), node([], false, '03')]
  const route = { route: { kind: 'direct' as const, nodeId: '03', base: DIRECT }, roundTripMs: 1 }

  it('takes one with a route, else one that is awake, else the first, else none', () => {
    expect(preferredNode([asleep, awake, reachable], new Map([['03', route]]))).toBe(reachable)
    expect(preferredNode([asleep, awake, reachable], new Map())).toBe(awake)
    expect(preferredNode([asleep, reachable], new Map())).toBe(asleep)
    expect(preferredNode([], new Map())).toBeNull()
  })

  it('Q8: a node counts as gone after 60 s, unless a route still leads to it', () => {
    expect(goneNodes([asleep, awake], new Map(), 59_999)).toEqual(new Set())
    expect(goneNodes([asleep, awake], new Map(), 60_000)).toEqual(new Set(['01']))
    expect(goneNodes([reachable], new Map([['03', route]]), 60_000)).toEqual(new Set())
  })
})
