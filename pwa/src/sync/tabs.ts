/**
 * Several tabs, one device. Web Locks only choose who talks to the network: what is written is safe without
 * them (L15), so where a browser has none (plain http on the LAN) every tab does the work.
 */

export class Tabs {
  constructor(private readonly locks: LockManager | undefined) {}

  /** Runs `work` while no other tab runs under this name. */
  async exclusively<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    if (this.locks === undefined) return work()
    return this.locks.request(name, work)
  }

  /** Waits to be the leading tab, then runs `work`, which ends with `signal`. */
  async lead(name: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    if (this.locks === undefined) return work()
    try {
      await this.locks.request(name, { signal }, work)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }
}

type TabMessage<State> = { kind: 'state'; state: State } | { kind: 'ask' } | { kind: 'wake' }

/** What the leading tab knows, told to all tabs; any tab may wake the leader. */
export class SharedState<State extends object> {
  private readonly channel: BroadcastChannel
  private isLeading = false

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

  update(changes: Partial<State>): void {
    Object.assign(this.state, changes)
    this.post({ kind: 'state', state: { ...this.state } })
  }

  wake(): void {
    if (this.isLeading) this.onWake()
    else this.post({ kind: 'wake' })
  }

  close(): void {
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
