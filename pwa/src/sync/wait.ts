/** Waiting: for a time, for a signal, for the next try. */

/** Says whether `signal` lets a loop go on. A function, because the property changes while a loop awaits. */
export function isRunning(signal: AbortSignal): boolean {
  return !signal.aborted
}

/** Resolves after `ms`, or at once when `signal` is aborted. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const finish = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', finish)
      resolve()
    }
    const timer = setTimeout(finish, ms)
    signal.addEventListener('abort', finish)
  })
}

/** Exponential back-off with jitter: half of the delay is fixed, half is drawn, so that devices do not march in step. */
export class Backoff {
  private failures = 0

  constructor(
    private readonly firstMs: number,
    private readonly greatestMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  /** Returns the ms to wait after one more failure. */
  next(): number {
    const delay = Math.min(this.greatestMs, this.firstMs * 2 ** this.failures)
    this.failures += 1
    return Math.round(delay / 2 + (delay / 2) * this.random())
  }

  reset(): void {
    this.failures = 0
  }
}

/** A bell that a loop sleeps by: ringing wakes it, and one ring while it is awake is kept for the next sleep. */
export class Bell {
  private isRung = false
  private controller = new AbortController()

  ring(): void {
    this.isRung = true
    this.controller.abort()
  }

  /** Resolves when the bell is rung (true), after `ms`, or when `signal` is aborted. */
  async wait(ms: number, signal: AbortSignal): Promise<boolean> {
    if (!this.isRung) {
      this.controller = new AbortController()
      await sleep(ms, AbortSignal.any([signal, this.controller.signal]))
    }
    const wasRung = this.isRung
    this.isRung = false
    return wasRung
  }
}

/** Returns a function that runs `work` when it is called for the first time. */
export function once(work: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) work()
    isDone = true
  }
}

/** Asks whether something lives, each time it has said nothing for `ms`: a link that goes down breaks no stream. */
export class Doubts {
  private timer: ReturnType<typeof setTimeout> | undefined
  private isOver = false

  constructor(
    private readonly ms: number,
    private readonly ask: () => Promise<void>,
  ) {
    this.rest()
  }

  /** It has said something. */
  rest(): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.ask().then(
        () => {
          if (!this.isOver) this.rest()
        },
        (error: unknown) => {
          console.error(error)
        },
      )
    }, this.ms)
  }

  end(): void {
    this.isOver = true
    clearTimeout(this.timer)
  }
}
