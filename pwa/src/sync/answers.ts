/**
 * Which answers this tab watches. The log alone brings every answer in the end; what happens here only makes it
 * arrive sooner, so each failure falls back to the log.
 */
import { shallowReactive } from 'vue'
import type { AccountDatabase, PendingRecord } from '../local/database'
import { readPending } from '../local/reads'
import { watchQuery } from '../local/watchQuery'
import { ProblemError } from '../protocol/errors'
import { isStarted, watchAnswer } from './answerWatch'
import type { LiveAnswer } from './liveAnswer'
import type { NodeClient } from './nodeClient'
import type { Router } from './router'
import { Bell, isRunning } from './wait'

/** An HTTP/1.1 browser allows six connections a host; one is the event stream, and calls need some. */
const MOST_WATCHES = 3
/** Of conversations that are not on the screen: the log brings their answers as well, while there is a server. */
const MOST_UNSEEN_WATCHES = 2
const RECONCILE_MS = 5_000

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
  /** How often routes or answers have changed. */
  private changes = 0
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
    this.changes += 1
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
    const stopWatching = watchQuery(
      () => readPending(this.options.db),
      ({ device, pending }) => {
        this.device = device
        this.pending = pending
        for (const answer of pending) if (answer.stop) void this.stop(answer)
        this.reconsider()
      },
    )
    while (isRunning(signal)) {
      this.reconcile(signal)
      await this.bell.wait(RECONCILE_MS, signal)
    }
    stopWatching()
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
      void this.watch(answer, signal)
    }
  }

  private isWanted(answer: PendingRecord): boolean {
    const { id, conversation, node, stop, device } = answer
    if (node === null || this.watches.has(id) || this.leftToLog.has(id)) return false
    if (this.options.router.best(node) === null || (this.live.get(id)?.ended ?? null) !== null) return false
    // Only the device that asked sends its request directly.
    if (!isStarted(answer, this.live) && (stop || device !== this.device)) return false
    return this.openCounts.has(conversation) || (device === this.device && this.options.isLeading())
  }

  private async watch(answer: PendingRecord, signal: AbortSignal): Promise<void> {
    const controller = new AbortController()
    this.watches.set(answer.id, controller)
    const { live, changes } = this
    const options = { ...this.options, live, streams: () => this.streams.signal }
    try {
      const end = await watchAnswer(options, answer, AbortSignal.any([signal, controller.signal]))
      // What has changed while it was found out may be just what it waits for.
      if (end === 'left' && changes === this.changes) this.leftToLog.add(answer.id)
    } catch (error) {
      // A full disk, a malformed event: the log may still bring it, and somebody should see why.
      this.leftToLog.add(answer.id)
      console.error(error)
    } finally {
      this.watches.delete(answer.id)
      this.bell.ring()
    }
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

  /** Texts of conversations that are no longer on the screen are read from IndexedDB. */
  private forgetUnseen(): void {
    for (const [id, { conversation }] of this.live) {
      if (!this.openCounts.has(conversation) && !this.watches.has(id)) this.live.delete(id)
    }
  }
}
