/**
 * Watching answers and starting them early. The log alone brings every answer in the end; what happens here
 * only makes it arrive sooner, so each failure falls back to the log.
 */
import { liveQuery } from 'dexie'
import { shallowReactive } from 'vue'
import type { AccountDatabase, PendingRecord } from '../local/database'
import { applyEnded } from '../local/log'
import { readPending, readRequestPath } from '../local/reads'
import { fromHex } from '../protocol/bytes'
import { hasCode, ProblemError } from '../protocol/errors'
import { applyEvent, newLiveAnswer, type LiveAnswer } from './liveAnswer'
import type { NodeClient } from './nodeClient'
import type { Route, Router } from './router'
import { Backoff, Bell, isRunning, sleep } from './wait'

/** An HTTP/1.1 browser allows six connections a host; one is the event stream, and calls need some. */
const MOST_WATCHES = 3
/** Of conversations that are not on the screen: the log brings their answers as well, while there is a server. */
const MOST_UNSEEN_WATCHES = 2
const FIRST_RETRY_MS = 250
const GREATEST_RETRY_MS = 5_000

export interface AnswersOptions {
  db: AccountDatabase
  router: Router
  nodes: NodeClient
  /** Whether this tab looks after answers whose conversation is not on the screen. */
  isLeading: () => boolean
}

export class Answers {
  /** Answers watched by this tab, by id. */
  readonly live = shallowReactive(new Map<string, LiveAnswer>())
  private readonly openCounts = new Map<string, number>()
  private readonly watches = new Map<string, AbortController>()
  /** Left to the log until routes or answers change. */
  private readonly leftToLog = new Set<string>()
  /** Answers whose node has been told to stop. */
  private readonly stopped = new Set<string>()
  private readonly bell = new Bell()
  private streams = new AbortController()
  private pending: readonly PendingRecord[] = []
  private device = ''

  constructor(private readonly options: AnswersOptions) {}

  /** Keeps the answers of a conversation watched while it is on the screen; returns the function that ends this. */
  open(conversation: string): () => void {
    this.openCounts.set(conversation, (this.openCounts.get(conversation) ?? 0) + 1)
    this.bell.ring()
    return () => {
      const count = (this.openCounts.get(conversation) ?? 1) - 1
      if (count > 0) this.openCounts.set(conversation, count)
      else this.openCounts.delete(conversation)
      this.forgetUnseen()
    }
  }

  /** Routes have changed: what could not be asked before is asked again. */
  reconsider(): void {
    this.leftToLog.clear()
    this.bell.ring()
  }

  /** Cuts all streams and continues them: after a wake from sleep they may be dead without saying so. */
  resume(): void {
    this.streams.abort()
    this.streams = new AbortController()
    this.reconsider()
  }

  async run(signal: AbortSignal): Promise<void> {
    const subscription = liveQuery(() => readPending(this.options.db)).subscribe(({ device, pending }) => {
      this.device = device
      this.pending = pending
      for (const answer of pending) if (answer.stop) void this.stop(answer)
      this.reconsider()
    })
    while (isRunning(signal)) {
      this.reconcile(signal)
      await this.bell.wait(GREATEST_RETRY_MS, signal)
    }
    subscription.unsubscribe()
  }

  /** Begins the watches that are wanted and ends those whose answer is final in the log. */
  private reconcile(signal: AbortSignal): void {
    const pendingIds = new Set(this.pending.map((answer) => answer.id))
    for (const [id, controller] of this.watches) if (!pendingIds.has(id)) controller.abort()
    const isOpen = ({ conversation }: PendingRecord) => this.openCounts.has(conversation)
    const wanted = this.pending
      .filter((answer) => this.isWanted(answer))
      .sort((left, right) => Number(isOpen(right)) - Number(isOpen(left)))
    for (const answer of wanted) {
      if (this.watches.size >= (isOpen(answer) ? MOST_WATCHES : MOST_UNSEEN_WATCHES)) return
      const controller = new AbortController()
      this.watches.set(answer.id, controller)
      void this.follow(answer, AbortSignal.any([signal, controller.signal])).finally(() => {
        this.watches.delete(answer.id)
        this.bell.ring()
      })
    }
  }

  private isWanted(answer: PendingRecord): boolean {
    const { id, conversation, node, stop, device } = answer
    if (node === null || this.watches.has(id) || this.leftToLog.has(id)) return false
    if (this.options.router.best(node) === null) return false
    // Only the device that asked sends its request directly.
    if (!this.isStarted(answer) && (stop || device !== this.device)) return false
    return this.openCounts.has(conversation) || (device === this.device && this.options.isLeading())
  }

  private isStarted({ id, state }: PendingRecord): boolean {
    return state === 'running' || (this.live.get(id)?.accepted ?? false)
  }

  /** Tells the node of a watched answer at once; the `stop` in the log tells it in any case. */
  private async stop(answer: PendingRecord): Promise<void> {
    const route = answer.node === null ? null : this.options.router.best(answer.node)
    if (route === null || !this.watches.has(answer.id) || this.stopped.has(answer.id)) return
    this.stopped.add(answer.id)
    try {
      await this.options.nodes.stop(route, answer.id)
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
    }
  }

  /** Starts the answer if no node runs it yet, and watches it to its end or until the log must do. */
  private async follow(answer: PendingRecord, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(FIRST_RETRY_MS, GREATEST_RETRY_MS)
    let isDone = false
    let isStarted = this.isStarted(answer)
    while (!isDone && isRunning(signal)) {
      const route = answer.node === null ? null : this.options.router.best(answer.node)
      if (route === null) return
      try {
        isStarted ||= await this.start(answer, route, signal)
        isDone = isStarted ? await this.watch(answer, route, signal) : this.leave(answer)
      } catch (error) {
        if (!isRunning(signal)) return
        if (!(error instanceof ProblemError)) {
          this.leave(answer)
          throw error
        }
        isDone = !hasCode(error, 'offline', 'node_unreachable') && this.leave(answer)
        if (!isDone) this.options.router.reportFailure(route)
        await sleep(isDone ? 0 : backoff.next(), signal)
      }
    }
  }

  private leave(answer: PendingRecord): true {
    this.leftToLog.add(answer.id)
    return true
  }

  /** Sends the request with all it needs. Returns false when it may not start yet. */
  private async start(answer: PendingRecord, route: Route, signal: AbortSignal): Promise<boolean> {
    const ready = await readRequestPath(this.options.db, answer)
    if (ready === null) return false
    const ids = { answer: fromHex(answer.id), conversation: fromHex(answer.conversation) }
    await this.options.nodes.start(route, { ...ids, ...ready }, signal)
    this.liveAnswer(answer, route).accepted = true
    return true
  }

  /** Follows the events on one route. Returns true at the end of the run, false when streams are to be resumed. */
  private async watch(answer: PendingRecord, route: Route, signal: AbortSignal): Promise<boolean> {
    const live = this.liveAnswer(answer, route)
    live.route = route.kind
    const streams = this.streams.signal
    const events = this.options.nodes.events(route, answer.id, live.lastEvent, AbortSignal.any([signal, streams]))
    for await (const { number, event } of events) {
      if (number === live.lastEvent + 1 && event.kind === 'started') await this.noteArrival(answer, route)
      if (!applyEvent(live, number, event)) return false
      if (event.kind === 'ended') {
        await applyEnded(this.options.db, event.changes)
        return true
      }
    }
    if (!streams.aborted) throw new ProblemError('offline', 'the stream ended before the run')
    return false
  }

  private async noteArrival(answer: PendingRecord, route: Route): Promise<void> {
    await this.options.db.arrival.put({ id: answer.id, route: route.kind })
  }

  private liveAnswer({ id, conversation }: PendingRecord, route: Route): LiveAnswer {
    const live = this.live.get(id) ?? shallowReactive(newLiveAnswer(id, conversation, route.kind))
    this.live.set(id, live)
    return live
  }

  /** Texts of conversations that are no longer on the screen are read from IndexedDB. */
  private forgetUnseen(): void {
    for (const [id, { conversation }] of this.live) {
      if (!this.openCounts.has(conversation) && !this.watches.has(id)) this.live.delete(id)
    }
  }
}
