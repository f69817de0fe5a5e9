/** Draws a growing text often enough to read and seldom enough to leave the page free. */
const LEAST_MS = 33
/** Drawing may take at most a fifth of the time. */
const COST_FACTOR = 5

export class Pacer {
  #timer: ReturnType<typeof setTimeout> | undefined
  #readyAt = 0

  constructor(
    private readonly draw: () => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Draws at once when the last drawing is long enough ago, else as soon as it is. */
  request(): void {
    if (this.#timer !== undefined) return
    const wait = this.#readyAt - this.now()
    if (wait <= 0) this.flush()
    else this.#timer = setTimeout(() => this.flush(), wait)
  }

  /** Draws now. */
  flush(): void {
    this.stop()
    const start = this.now()
    this.draw()
    const end = this.now()
    this.#readyAt = end + Math.max(LEAST_MS, COST_FACTOR * (end - start))
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
