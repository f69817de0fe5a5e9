/** One answer, from start to end, over whatever routes there are (rules S2-S5). */
import { shallowReactive } from 'vue'
import type { AccountDatabase, PendingRecord } from '../local/database'
import { applyAside } from '../local/log'
import { readRequestPath } from '../local/reads'
import { fromHex } from '../protocol/bytes'
import { hasCode, PASSING, ProblemError } from '../protocol/errors'
import { applyEvent, newLiveAnswer, type LiveAnswer } from './liveAnswer'
import type { NodeClient } from './nodeClient'
import type { Route, Router } from './router'
import { Backoff, Doubts, isRunning, sleep } from './wait'

const FIRST_RETRY_MS = 250
const GREATEST_RETRY_MS = 5_000
/** An answer that says nothing for this long has its route asked whether it lives. */
const DOUBT_AFTER_MS = 3_000

export interface WatchOptions {
  db: AccountDatabase
  router: Router
  nodes: NodeClient
  /** Texts by answer id, on the screen while they grow. */
  live: Map<string, LiveAnswer>
  /** Aborted to cut the streams that are open now; the watches continue on new ones. */
  streams: () => AbortSignal
}

/** What became of a watch: `left` means that the log must bring the answer, `unreachable` that no route leads there. */
export type WatchEnd = 'ended' | 'left' | 'unreachable' | 'aborted'

/** Says whether a node is known to have the request. */
export function isStarted({ id, state }: PendingRecord, live: ReadonlyMap<string, LiveAnswer>): boolean {
  return state === 'running' || (live.get(id)?.accepted ?? false)
}

/** Starts the answer if no node has it yet, and follows it to its end. Changes route when one breaks. */
export async function watchAnswer(
  options: WatchOptions,
  answer: PendingRecord,
  signal: AbortSignal,
): Promise<WatchEnd> {
  const backoff = new Backoff(FIRST_RETRY_MS, GREATEST_RETRY_MS)
  while (isRunning(signal)) {
    const route = answer.node === null ? null : options.router.best(answer.node)
    if (route === null) return 'unreachable'
    try {
      if (!isStarted(answer, options.live) && !(await start(options, answer, route, signal))) return 'left'
      if (await follow(options, answer, route, signal)) return 'ended'
    } catch (error) {
      if (!isRunning(signal)) break
      if (hasCode(error, 'offline', 'node_unreachable')) options.router.reportFailure(route)
      else if (!hasCode(error, ...PASSING)) {
        if (error instanceof ProblemError) return 'left'
        throw error
      }
      await sleep(backoff.next(), signal)
    }
  }
  return 'aborted'
}

/** Sends the request with all it needs, unless a node has it. Returns false when it may not start yet, or is over. */
async function start(
  { db, nodes, live }: WatchOptions,
  answer: PendingRecord,
  route: Route,
  signal: AbortSignal,
): Promise<boolean> {
  const ready = await readRequestPath(db, answer)
  // The node may have begun by way of the log, and this device has heard of it since the watch began.
  if (ready === null) return (await db.pending.get(answer.id))?.state === 'running'
  const ids = { answer: fromHex(answer.id), conversation: fromHex(answer.conversation) }
  await nodes.start(route, { ...ids, ...ready }, signal)
  liveAnswer(live, answer, route).accepted = true
  return true
}

/** Follows the events on one route. Returns true at the end of the run, false when streams are to be resumed. */
async function follow(
  { db, router, nodes, live: all, streams }: WatchOptions,
  answer: PendingRecord,
  route: Route,
  signal: AbortSignal,
): Promise<boolean> {
  const live = liveAnswer(all, answer, route)
  const cut = AbortSignal.any([streams(), router.lifeOf(route)])
  const inner = AbortSignal.any([signal, cut])
  const doubts = new Doubts(DOUBT_AFTER_MS, async () => router.doubt(route, inner))
  try {
    for await (const { number, event } of nodes.events(route, answer.id, live.lastEvent, inner)) {
      doubts.rest()
      if (event.kind === 'started') await noteArrival(db, answer, route)
      if (!applyEvent(live, number, event)) throw new ProblemError('offline', 'events are missing')
      if (event.kind !== 'ended') continue
      await applyAside(db, event.changes)
      return true
    }
  } finally {
    doubts.end()
  }
  if (isRunning(signal) && isRunning(cut)) throw new ProblemError('offline', 'the stream ended before the run')
  return false
}

async function noteArrival(db: AccountDatabase, { id, conversation }: PendingRecord, { kind }: Route): Promise<void> {
  await db.arrival.put({ id, conversation, route: kind })
}

function liveAnswer(all: Map<string, LiveAnswer>, { id, conversation }: PendingRecord, { kind }: Route): LiveAnswer {
  const live = all.get(id) ?? shallowReactive(newLiveAnswer(id, conversation, kind))
  live.route = kind
  all.set(id, live)
  return live
}
