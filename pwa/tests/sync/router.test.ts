import { describe, expect, it, onTestFinished } from 'vitest'
import type { KnownNode } from '../../src/local/database'
import type { Candidate } from '../../src/protocol/generated'
import { ProblemError } from '../../src/protocol/errors'
import { chooseNode, goneNodes, preferredNode } from '../../src/sync/nodes'
import { nodeProbe } from '../../src/sync/probe'
import { Router, type RouterOptions } from '../../src/sync/router'
import type { LocalNetworkPermission } from '../../src/sync/ways'
import { problem } from './fakeServer'
import { eventually } from './house'

const NODE = 'ab'.repeat(16)
const OTHER = 'cd'.repeat(16)
const HERE: Candidate = { scheme: 'http', host: 'localhost', port: 8461, kind: 'loopback' }
const LAN: Candidate = { scheme: 'http', host: '192.168.1.34', port: 8461, kind: 'lan' }
const NAME: Candidate = { scheme: 'https', host: 'pc.home.example', port: 8443, kind: 'name' }
const BY_NAME = 'https://pc.home.example:8443'
const DIRECT = 'http://localhost:8461'
const AT_HOME = 'http://192.168.1.34:8461'
const RELAY = `/relay/${NODE}`

function node(candidates: Candidate[], awake = true, id = NODE): KnownNode {
  const status = { name: 'PC', engine_state: 'ready', candidates }
  return { node_id: id, name: 'PC', awake, since_ms: 0, level: 'use', status, candidates }
}

interface Setup {
  pageHost?: string
  isVisible?: () => boolean
  permission?: () => LocalNetworkPermission
  /** Addresses that answer. */
  living: Set<string>
  /** How the PC's name fails: null for not at all, until nobody waits any more. */
  refusal?: ProblemError | null
  /** Addresses where somebody else answers. */
  strangers?: Set<string>
}

/** As fetch does: rejects when nobody waits for it any more. */
async function neverButFor(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(new ProblemError('offline'))
    })
  })
}

function started({ living, strangers = new Set(), refusal, ...setup }: Setup) {
  const asked: string[] = []
  const clock = { now: 0 }
  const server = {
    origin: '',
    ping: () => (living.has('server') ? Promise.resolve(5) : Promise.reject(new ProblemError('offline'))),
  } as unknown as RouterOptions['server']
  const router = new Router({
    server,
    probe: ({ base }, signal) => {
      asked.push(base)
      if (base === BY_NAME && refusal === null) return neverButFor(signal)
      if (strangers.has(base)) return Promise.resolve('stranger')
      return living.has(base) ? Promise.resolve('open') : Promise.reject(new ProblemError('offline'))
    },
    page: { protocol: 'http:', host: setup.pageHost ?? 'localhost' },
    permission: setup.permission ?? (() => 'unneeded'),
    isVisible: setup.isVisible ?? (() => true),
    now: () => clock.now,
  })
  const stopping = new AbortController()
  void router.run(stopping.signal)
  onTestFinished(() => {
    stopping.abort()
  })
  return { router, asked, clock }
}

async function until(router: Router, kind: 'direct' | 'relay'): Promise<void> {
  await eventually(() => {
    expect(router.best(NODE)?.kind).toBe(kind)
  })
}

/** A router that goes straight to a node, and knows of its relay; `living` may lose either. */
async function withBothWays() {
  const living = new Set([DIRECT, RELAY])
  const { router } = started({ living })
  router.setNodes([node([HERE])])
  await until(router, 'direct')
  await eventually(() => {
    expect(router.state.probed).not.toBeNull()
  })
  return { router, living, direct: { kind: 'direct' as const, nodeId: NODE, base: DIRECT } }
}

describe('routes to a node', () => {
  it('takes Direct from the PC’s own browser', async () => {
    const { router } = started({ living: new Set([DIRECT, RELAY, 'server']) })
    router.setNodes([node([HERE])])
    await eventually(() => {
      expect(router.best(NODE)).toEqual({ kind: 'direct', nodeId: NODE, base: DIRECT })
      expect(router.state.serverMs).toBe(5)
    })
  })

  it.each<[LocalNetworkPermission, string]>([
    ['prompt', 'unasked'],
    ['denied', 'denied'],
    ['unsupported', 'silent'],
  ])('tells what came of each way, with the permission %s', async (permission, outcome) => {
    const { router } = started({ permission: () => permission, living: new Set([RELAY]), pageHost: 'home.example' })
    router.setNodes([node([LAN])])
    await until(router, 'relay')
    await eventually(() => {
      const attempts = router.state.attempts.get(NODE)?.map(({ route, outcome }) => [route.base, outcome])
      expect(attempts?.sort()).toEqual(
        [
          [RELAY, 'open'],
          [AT_HOME, outcome],
        ].sort(),
      )
    })
  })

  it('goes over to Relay when Direct breaks, and back after its rest when it stays better', async () => {
    const living = new Set([DIRECT, RELAY])
    const { router, clock } = started({ living })
    router.setNodes([node([HERE])])
    await until(router, 'direct')
    await eventually(() => {
      expect(router.state.probed).not.toBeNull()
    })
    const direct = { kind: 'direct' as const, nodeId: NODE, base: DIRECT }
    living.delete(DIRECT)
    const life = router.lifeOf(direct)
    router.reportFailure(direct)
    expect(life.aborted).toBe(false)
    router.reportFailure(direct)
    // Who still waits on it hears of its death at once.
    expect(life.aborted).toBe(true)
    await until(router, 'relay')
    living.add(DIRECT)
    await eventually(() => {
      // Its failures count against it until ten probes have pushed them out.
      clock.now += 30_000
      router.probeNow()
      expect(router.best(NODE)?.kind).toBe('direct')
    })
  })

  it('D7: leaves a dead address alone, until somebody looks or the network is another one', async () => {
    const { router, asked } = started({ living: new Set([RELAY]) })
    router.setNodes([node([HERE])])
    const tries = () => asked.filter((base) => base === DIRECT).length
    await eventually(() => {
      expect(tries()).toBe(1)
      expect(router.state.probed).not.toBeNull()
    })
    router.probeNow()
    await eventually(() => {
      expect(router.state.attempts.get(NODE)?.[0]).toMatchObject({ outcome: 'resting' })
    })
    expect(tries()).toBe(1)
    router.tryAgain()
    await eventually(() => {
      expect(tries()).toBe(2)
    })
    router.startAfresh()
    await eventually(() => {
      expect(tries()).toBe(3)
    })
  })

  it('takes the best at once on another network, without waiting for wins', async () => {
    const living = new Set([RELAY])
    const { router } = started({ living })
    router.setNodes([node([])])
    await until(router, 'relay')
    living.add(DIRECT)
    router.setNodes([node([HERE])])
    await until(router, 'direct')
    living.delete(DIRECT)
    router.startAfresh()
    await until(router, 'relay')
  })

  it('D7: what failed on one network counts for nothing on the next', async () => {
    const { router, living, direct } = await withBothWays()
    living.delete(DIRECT)
    for (let failures = 0; failures < 3; failures += 1) router.reportFailure(direct)
    expect(router.best(NODE)?.kind).toBe('relay')
    living.add(DIRECT)
    router.startAfresh()
    await until(router, 'direct')
  })

  it('D5: a stranger at the address is no way to the node', async () => {
    const { router } = started({ living: new Set([RELAY]), strangers: new Set([AT_HOME]) })
    router.setNodes([node([LAN])])
    await until(router, 'relay')
    await eventually(() => {
      expect(router.state.attempts.get(NODE)?.[0]).toMatchObject({ outcome: 'stranger' })
      expect(router.state.probed).not.toBeNull()
    })
    // It is left alone, and known for what it is.
    router.probeNow()
    await eventually(() => {
      expect(router.state.attempts.get(NODE)?.[0]).toMatchObject({ outcome: 'stranger', ms: null })
    })
  })

  it.each<[string, string, ProblemError | null]>([
    ['nameless', 'a name that opens nothing at once', new ProblemError('offline')],
    // A name that leads to an address where nobody is takes its time; so does one that a resolver does not answer for.
    ['silent', 'a name that leads to nobody', null],
  ])('D5: %s is told of %s, also while it is left alone', async (outcome, _, refusal) => {
    const { router } = started({ living: new Set([RELAY]), refusal })
    router.setNodes([node([NAME, LAN])])
    await until(router, 'relay')
    const found = () =>
      router.state.attempts.get(NODE)?.flatMap(({ candidate, outcome: came }) => (candidate ? [came] : []))
    await eventually(() => {
      expect(found()).toEqual([outcome, 'silent'])
    })
    router.probeNow()
    await eventually(() => {
      expect(found()).toEqual([outcome === 'silent' ? 'resting' : outcome, 'resting'])
    })
  })

  it('D5: two PCs that are found at one address are told apart', async () => {
    const { router } = started({ living: new Set([RELAY, DIRECT, `/relay/${OTHER}`]) })
    router.setNodes([node([HERE]), node([], true, OTHER)])
    await until(router, 'direct')
    await eventually(() => {
      expect(router.best(OTHER)?.kind).toBe('relay')
    })
  })

  it('D8: a route that is doubted and says nothing twice is dead', async () => {
    const { router, living, direct } = await withBothWays()
    const { signal } = new AbortController()
    await router.doubt(direct, signal)
    expect(router.best(NODE)?.kind).toBe('direct')
    living.delete(DIRECT)
    await router.doubt(direct, signal)
    expect(router.best(NODE)?.kind).toBe('relay')
  })

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

it.each(['engine_unavailable', 'engine_loading', 'out_of_memory'])(
  'a node with %s is reached all the same',
  async (code) => {
    const server = { authorization: () => Promise.resolve({}) } as unknown as RouterOptions['server']
    const probe = nodeProbe(() => Promise.resolve(problem(503, code)), server, {} as never)
    const route = { kind: 'relay' as const, nodeId: NODE, base: RELAY }
    await expect(probe(route, new AbortController().signal)).resolves.toBe('open')
  },
)

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

describe('D9: whom a question goes to', () => {
  const [big, small] = [node([], false, '01'), node([], true, '02')]
  const reachable = (id: string) =>
    new Map([[id, { route: { kind: 'relay' as const, nodeId: id, base: RELAY }, roundTripMs: 1 }]])
  const ids = ({ node: to, instead }: ReturnType<typeof chooseNode>) => [to?.node_id, instead?.node_id]

  it.each([
    ['nobody was chosen', '', 'ask', reachable('02'), ['02', undefined]],
    ['the chosen one is there', '01', 'ask', reachable('01'), ['01', undefined]],
    ['it sleeps, and is waited for', '01', 'wait', reachable('02'), ['01', undefined]],
    ['it sleeps, and another may', '01', 'another', reachable('02'), ['02', undefined]],
    ['it sleeps, and the person says', '01', 'ask', reachable('02'), ['01', '02']],
    ['it sleeps, and so do all', '01', 'ask', new Map(), ['01', undefined]],
    ['it was removed', '03', 'wait', reachable('02'), ['02', undefined]],
  ] as const)('%s', (_name, main, policy, best, expected) => {
    expect(ids(chooseNode([big, small], best, main, policy))).toEqual(expected)
  })

  it('one that the server knows to be awake is asked by way of the log', () => {
    expect(ids(chooseNode([big, small], reachable('01'), '02', 'another'))).toEqual(['02', undefined])
  })
})
