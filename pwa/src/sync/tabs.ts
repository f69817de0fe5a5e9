/**
 * Several tabs, one device. Web Locks only choose who talks to the network: what is written is safe without
 * them (L15), so where a browser has none (plain http on the LAN) every tab does the work.
 *
 * A browser freezes tabs that nobody looks at, with the lock in their hands. The leader therefore beats, and a tab
 * that hears nothing for a while takes the lock away from it: a frozen leader costs 15 s at most. When it thaws it
 * waits in line again; what it still had under way is harmless: a push is known by device and dseq (L8), and one that
 * comes late is not taken for a fork (`pusher.ts`).
 */

/** The leader is heard of this often, ms. */
export const BEAT_MS = 3_000
/** A leader that is not heard for this long, and up to a fifth more, is taken for frozen, ms. */
export const SILENT_MS = 10_000
/** Whoever works exclusively is done by then, or frozen, ms. */
export const EXCLUSIVE_MS = 15_000

export interface Channel {
  onmessage: ((event: MessageEvent) => void) | null
  postMessage(message: unknown): void
  close(): void
}

export class Tabs {
  constructor(
    private readonly locks: LockManager | undefined,
    private readonly makeChannel: (name: string) => Channel = (name) => new BroadcastChannel(name),
  ) {}

  /** Runs `work` while no other tab runs under this name, unless that one is frozen. */
  async exclusively<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    if (this.locks === undefined) return work()
    let begun: Promise<Result> | undefined
    const begin = () => (begun = work())
    try {
      return await this.locks.request(name, { signal: AbortSignal.timeout(EXCLUSIVE_MS) }, begin)
    } catch (error) {
      // Taken away while it worked: it was frozen, and is to end what it began.
      if (begun !== undefined) return begun
      if (!isTimeout(error)) throw error
      return this.locks.request(name, { steal: true }, begin)
    }
  }

  /**
   * Waits to be the leading tab, then runs `work`, which ends with its signal: when `signal` ends, or when another
   * tab has taken over. In the latter case waits again.
   */
  async lead(name: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.locks === undefined) return work(signal)
    const heart = new Heart(this.makeChannel(`${name}-beat`))
    try {
      while (!signal.aborted) await this.leadOnce(this.locks, heart, name, signal, work)
    } finally {
      heart.close()
    }
  }

  private async leadOnce(
    locks: LockManager,
    heart: Heart,
    name: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const leading = new AbortController()
    const waiting = new AbortController()
    let working: Promise<void> | undefined
    const begin = async () => {
      working = work(AbortSignal.any([signal, leading.signal]))
      const stopBeating = heart.beat()
      await working.finally(stopBeating)
    }
    const stopListening = heart.listen(() => {
      waiting.abort()
    })
    try {
      const waits = AbortSignal.any([signal, waiting.signal])
      await locks.request(name, { signal: waits }, begin).catch(async (error: unknown) => {
        const isSilent = waiting.signal.aborted && working === undefined && !signal.aborted
        if (!isSilent) throw error
        await locks.request(name, { steal: true }, begin)
      })
    } catch (error) {
      if (!isAbort(error)) throw error
      // Another tab leads now, or this one ends. What it does is over before it waits again.
      leading.abort()
      await working
    } finally {
      stopListening()
    }
  }
}

/** What tabs hear of their leader. */
class Heart {
  private lastHeard = 0

  constructor(private readonly channel: Channel) {
    channel.onmessage = () => {
      this.lastHeard = Date.now()
    }
  }

  /** Lets the others hear this tab until the function returned is called. */
  beat(): () => void {
    const tell = () => {
      this.lastHeard = Date.now()
      this.channel.postMessage('beat')
    }
    tell()
    const timer = setInterval(tell, BEAT_MS)
    return () => {
      clearInterval(timer)
    }
  }

  /** Calls `onSilence` when the leader has been silent for too long, until the function returned is called. */
  listen(onSilence: () => void): () => void {
    // Not all tabs at the same moment: the first one to lead is heard by the others.
    const patience = SILENT_MS * (1 + Math.random() / 5)
    let lastLook = (this.lastHeard = Date.now())
    const timer = setInterval(() => {
      const now = Date.now()
      // This tab was frozen or slowed down itself: what it has not heard meanwhile says nothing.
      if (now - lastLook > BEAT_MS) this.lastHeard = now
      lastLook = now
      if (now - this.lastHeard > patience) {
        clearInterval(timer)
        onSilence()
      }
    }, BEAT_MS / 3)
    return () => {
      clearInterval(timer)
    }
  }

  close(): void {
    this.channel.close()
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError'
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'TimeoutError'
}

type TabMessage<State> = { kind: 'state'; state: State } | { kind: 'ask' } | { kind: 'wake' }

/** What the leading tab knows, told to all tabs; any tab may wake the leader. */
export class SharedState<State extends object> {
  private readonly channel: BroadcastChannel
  private isLeading = false
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    name: string,
    readonly state: State,
    private readonly onWake: () => void,
  ) {
    this.channel = new BroadcastChannel(name)
    this.channel.onmessage = ({ data }: MessageEvent<TabMessage<State>>) => {
      this.receive(data)
    }
    this.post({ kind: 'ask' })
  }

  /** From now on this tab's state is the one that counts. */
  lead(): void {
    this.isLeading = true
    this.post({ kind: 'state', state: { ...this.state } })
  }

  /** Another tab's state counts from now on. */
  follow(): void {
    this.isLeading = false
    this.post({ kind: 'ask' })
  }

  /** What was told while this tab was frozen, it may not have heard. */
  askAgain(): void {
    if (!this.isLeading) this.post({ kind: 'ask' })
  }

  /**
   * Tells what has changed, the other tabs a moment later: whoever tells has something to send meanwhile. A tab that
   * leads no more only believes what it is told.
   */
  update(changes: Partial<State>): void {
    if (!this.isLeading) return
    Object.assign(this.state, changes)
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      if (this.isLeading) this.post({ kind: 'state', state: { ...this.state } })
    })
  }

  wake(): void {
    if (this.isLeading) this.onWake()
    else this.post({ kind: 'wake' })
  }

  close(): void {
    clearTimeout(this.timer)
    this.channel.close()
  }

  private receive(message: TabMessage<State>): void {
    if (message.kind === 'state') {
      if (!this.isLeading) Object.assign(this.state, message.state)
    } else if (this.isLeading) {
      if (message.kind === 'wake') this.onWake()
      else this.post({ kind: 'state', state: { ...this.state } })
    }
  }

  private post(message: TabMessage<State>): void {
    this.channel.postMessage(message)
  }
}
