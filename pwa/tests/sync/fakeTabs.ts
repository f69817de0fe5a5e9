/** Several tabs of a browser in one process: their locks, their channel, and what freezing does to them. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { Tabs, type Channel } from '../../src/sync/tabs'

interface Waiting {
  name: string
  begin: () => void
  fail: (error: unknown) => void
}

/** Locks as browsers have them: one holder at a time, in order, unless somebody steals. */
class FakeLocks {
  private readonly holders = new Map<string, Waiting>()
  private queue: Waiting[] = []

  async request(name: string, options: LockOptions, whenMine: () => Promise<unknown>): Promise<unknown> {
    options.signal?.throwIfAborted()
    // It runs in the tab that asked for it, whichever tab let go.
    const work = AsyncLocalStorage.bind(whenMine)
    return new Promise((resolve, reject) => {
      const turn: Waiting = {
        name,
        begin: () => {
          this.holders.set(name, turn)
          work()
            .then(resolve, reject)
            .finally(() => {
              if (this.holders.get(name) === turn) this.holders.delete(name)
              this.next()
            })
        },
        fail: reject,
      }
      if (options.steal === true) {
        this.holders.get(name)?.fail(new DOMException('stolen', 'AbortError'))
        turn.begin()
        return
      }
      this.queue.push(turn)
      options.signal?.addEventListener('abort', () => {
        if (!this.queue.includes(turn)) return
        this.queue = this.queue.filter((other) => other !== turn)
        reject(options.signal?.reason as Error)
      })
      this.next()
    })
  }

  private next(): void {
    const turn = this.queue.find(({ name }) => !this.holders.has(name))
    if (turn === undefined) return
    this.queue = this.queue.filter((other) => other !== turn)
    turn.begin()
  }
}

export function locks(): LockManager {
  return new FakeLocks() as unknown as LockManager
}

/** The tab that code runs in. */
const running = new AsyncLocalStorage<Tab>()

interface Tab {
  channel: Channel
  isFrozen: boolean
  closing: AbortController
}

/** Lets the timers of a frozen tab pass by. For fake timers, which take it with them when they end. */
export function freezeTimers(): void {
  const set = globalThis.setInterval
  const setInTab = (work: () => void, everyMs: number) => {
    const tab = running.getStore()
    return set(() => {
      if (tab?.isFrozen !== true) work()
    }, everyMs)
  }
  globalThis.setInterval = setInTab as typeof setInterval
}

/** Tabs of one browser. A frozen one does nothing and hears nothing. */
export class Browser {
  /** Who has led so far, and who has stepped down, in order. */
  readonly leading: string[] = []
  readonly stepped: string[] = []
  /** Who leads just now, the frozen ones too. */
  readonly leaders = new Set<string>()
  private readonly manager = locks()
  private readonly tabs = new Map<string, Tab>()

  /** Resolves when the tab has closed. */
  open(name: string): Promise<void> {
    const tab = { channel: this.channel(name), isFrozen: false, closing: new AbortController() }
    this.tabs.set(name, tab)
    const lead = async (signal: AbortSignal) => {
      this.leading.push(name)
      this.leaders.add(name)
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve)
      })
      this.leaders.delete(name)
      this.stepped.push(name)
    }
    return running.run(tab, () => new Tabs(this.manager, () => tab.channel).lead('link', tab.closing.signal, lead))
  }

  close(name: string): void {
    this.tabs.get(name)?.closing.abort()
    this.tabs.delete(name)
  }

  freeze(name: string, isFrozen = true): void {
    const tab = this.tabs.get(name)
    if (tab !== undefined) tab.isFrozen = isFrozen
  }

  /** The tabs that are open and do something. */
  get awake(): string[] {
    return [...this.tabs].filter(([, tab]) => !tab.isFrozen).map(([name]) => name)
  }

  private channel(name: string): Channel {
    return {
      onmessage: null,
      postMessage: (message) => {
        if (this.tabs.get(name)?.isFrozen !== false) return
        for (const [other, tab] of this.tabs)
          if (other !== name && !tab.isFrozen) tab.channel.onmessage?.(new MessageEvent('message', { data: message }))
      },
      close: () => undefined,
    }
  }
}
