/** The leading tab's conversation with the server: event stream, pulls and pushes, and trying again (L13). */
import type { AccountDatabase } from '../local/database'
import { needsBootstrap, noteServer, readDevice, readSync } from '../local/log'
import { watchOutbox } from '../local/outbox'
import { storeNodes } from '../local/reads'
import { decodeLogNews } from '../protocol/codec'
import { hasCode, PASSING, ProblemError, type FailureCode } from '../protocol/errors'
import type { DevicesNews, Hello, Nodes } from '../protocol/generated'
import type { Logins } from './logins'
import { Puller } from './puller'
import { Pusher } from './pusher'
import type { Server } from './server'
import type { Session } from './session'
import type { SharedState } from './tabs'
import { Backoff, Bell, isRunning, once } from './wait'

const FIRST_RETRY_MS = 1_000
const GREATEST_RETRY_MS = 15_000
/** A login that has ended is tried again after this long. */
const POLL_MS = 60_000
/** What was refused is tried again after this long, or as soon as something else is written; what passes, sooner. */
const FLUSH_EVERY_MS = 30_000
const ENDS_CONNECTION: readonly FailureCode[] = [
  'offline',
  'login_ended',
  'device_revoked',
  'device_forked',
  'token_missing',
  'epoch_changed',
]

export interface LinkState {
  connection: 'connecting' | 'up' | 'down'
  /** Last dseq of the push in flight. */
  pushing: number | null
  /** Milliseconds since 1970. */
  nextTryAt: number | null
  /** What keeps sync from going on, as an error code. */
  problem: string | null
  /** Where the server sees this device at. */
  address: string | null
  /** How often the account's devices were others than before, as far as was heard. */
  devicesChanges: number
}

export const FIRST_LINK_STATE: LinkState = {
  connection: 'connecting',
  pushing: null,
  nextTryAt: null,
  problem: null,
  address: null,
  devicesChanges: 0,
}

export interface LinkOptions {
  db: AccountDatabase
  server: Server
  session: Session
  logins: Logins
  shared: SharedState<LinkState>
}

export class Link {
  private readonly puller: Puller
  private readonly pusher: Pusher
  private readonly retry = new Bell()
  private readonly outbox = new Bell()
  private readonly backoff = new Backoff(FIRST_RETRY_MS, GREATEST_RETRY_MS)
  private connection = new AbortController()

  constructor(private readonly options: LinkOptions) {
    const { db, server, shared } = options
    this.puller = new Puller(db, server)
    this.pusher = new Pusher(db, server, (pushing) => {
      shared.update({ pushing })
    })
  }

  /** Cuts the connection, if any, and makes a new one at once: after a wake from sleep the old one may be dead. */
  restart(): void {
    this.backoff.reset()
    this.retry.ring()
    this.connection.abort()
  }

  /** Reads a conversation before its turn, if the account is still being read for the first time (L17). */
  readAhead(conversation: string): void {
    this.puller.pullScope(conversation, this.connection.signal).catch((error: unknown) => {
      // Its turn comes.
      if (!(error instanceof ProblemError)) console.error(error)
    })
  }

  /** Stays connected until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { db, shared } = this.options
    const unwatch = watchOutbox(db, () => {
      this.outbox.ring()
    })
    shared.lead()
    while (isRunning(signal)) {
      this.connection = new AbortController()
      const problem = await this.connect(AbortSignal.any([signal, this.connection.signal]))
      if (isRunning(this.connection.signal) && isRunning(signal)) await this.pause(problem, signal)
    }
    unwatch()
  }

  /** Tells why the connection ended and waits for the next try. */
  private async pause(problem: ProblemError, signal: AbortSignal): Promise<void> {
    const { db, shared, session } = this.options
    // A device that the browser has forgotten needs a new id, as a forked one does, and that takes the password.
    const isEnded = hasCode(problem, 'device_forked', 'device_revoked', 'login_ended', 'token_missing')
    if (isEnded) session.end()
    const delay = isEnded ? POLL_MS : this.backoff.next()
    shared.update({
      connection: 'down',
      nextTryAt: db.environment.now() + delay,
      problem: problem.code === 'offline' ? null : problem.code,
    })
    await this.retry.wait(delay, signal)
  }

  /** Returns why the connection ended. */
  private async connect(signal: AbortSignal): Promise<ProblemError> {
    const both = new AbortController()
    const inner = AbortSignal.any([signal, both.signal])
    try {
      if ((await readDevice(this.options.db)).isForked) return new ProblemError('device_forked')
      await Promise.race([this.listen(inner), this.drainForever(inner)])
      return new ProblemError('offline')
    } catch (error) {
      if (error instanceof ProblemError) return error
      // Whatever it is (a full disk, a malformed event), the next try may go better, and somebody should see it.
      if (!signal.aborted) console.error(error)
      return new ProblemError('internal')
    } finally {
      both.abort()
    }
  }

  private async listen(signal: AbortSignal): Promise<void> {
    const { db, server } = this.options
    // What is written here is sent as soon as the server's history is known, not when all of it has been read.
    let missing = 2
    const begin = () => {
      missing -= 1
      if (missing === 0) this.begin()
    }
    const [onHello, onPage] = [once(begin), once(begin)]
    const early = this.readEarly(signal, onPage)
    // It is awaited with the greeting, and would count as unhandled until then.
    early.catch(() => undefined)
    for await (const { event, data } of server.events(signal)) {
      if (event === 'hello') {
        const greeting = JSON.parse(data) as Hello
        await noteServer(db, greeting.server_ms, false)
        this.options.shared.update({ address: greeting.address ?? null })
        onHello()
        this.hearOfLogins(greeting.login_ms ?? 0)
        const read = early.then(() => this.puller.pull(signal, onPage))
        await Promise.all([server.nodes(signal).then((nodes) => storeNodes(db, nodes)), read])
      } else if (event === 'log') {
        await this.puller.take(decodeLogNews(data), () => this.pusher.landed(), signal)
      } else if (event === 'presence') {
        await storeNodes(db, (JSON.parse(data) as Nodes).nodes)
      } else if (event === 'devices') {
        const { shared } = this.options
        shared.update({ devicesChanges: shared.state.devicesChanges + 1 })
        this.hearOfLogins((JSON.parse(data) as DevicesNews).login_ms)
      }
    }
  }

  /** Nothing waits for it: what can't be asked now is asked with the next greeting. */
  private hearOfLogins(newestMs: number): void {
    this.options.logins.hear(newestMs).catch((error: unknown) => {
      if (!(error instanceof ProblemError)) console.error(error)
    })
  }

  /**
   * Begins to read the account's state while the stream of news opens: what is written meanwhile is pulled when all of
   * the state is here (L16), and by then the stream is open.
   */
  private async readEarly(signal: AbortSignal, onPage: () => void): Promise<void> {
    if (needsBootstrap(await readSync(this.options.db))) await this.puller.pull(signal, onPage)
  }

  private begin(): void {
    this.backoff.reset()
    this.options.shared.update({ connection: 'up', nextTryAt: null })
    this.outbox.ring()
  }

  private async drainForever(signal: AbortSignal): Promise<void> {
    const { shared } = this.options
    const passing = new Backoff(FIRST_RETRY_MS, FLUSH_EVERY_MS)
    let wait = FLUSH_EVERY_MS
    while (isRunning(signal)) {
      await this.outbox.wait(wait, signal)
      if (shared.state.connection !== 'up' || !isRunning(signal)) continue
      const problem = await this.drain(signal)
      shared.update({ problem })
      if (problem === null) passing.reset()
      wait = PASSING.some((code) => code === problem) ? passing.next() : FLUSH_EVERY_MS
    }
  }

  /** Drains the outbox; returns the code of a refusal that leaves the connection as it is. */
  private async drain(signal: AbortSignal): Promise<string | null> {
    try {
      await this.pusher.drain(signal)
      return null
    } catch (error) {
      if (!(error instanceof ProblemError) || ENDS_CONNECTION.includes(error.code)) throw error
      return error.code
    }
  }
}
