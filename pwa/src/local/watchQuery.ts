/** Live queries that outlive a lost connection to the data, and a frozen tab. */
import Dexie, { liveQuery, type Subscription } from 'dexie'
import { watchThaws } from './thaw'

/** A query that failed is asked again after this long, ms, then after twice as long, and so on up to the greatest. */
const FIRST_WAIT_MS = 500
const GREATEST_WAIT_MS = 8_000

/** Calls `next` with the query's result now and whenever what it read has changed in any tab, until it is stopped. */
export function watchQuery<Result>(query: () => Promise<Result>, next: (result: Result) => void): () => void {
  let wait = FIRST_WAIT_MS
  let timer: ReturnType<typeof setTimeout> | undefined
  let subscription: Subscription | undefined
  const subscribe = () => {
    unsubscribe()
    subscription = liveQuery(query).subscribe({
      next: (result) => {
        wait = FIRST_WAIT_MS
        next(result)
      },
      error: (error: unknown) => {
        // A browser may drop its connection to the data, and the next query opens another. A log-out closes the
        // database below its last readers.
        if (wait === FIRST_WAIT_MS && !(error instanceof Dexie.DatabaseClosedError)) reportError(error)
        unsubscribe()
        timer = setTimeout(subscribe, wait)
        wait = Math.min(2 * wait, GREATEST_WAIT_MS)
      },
    })
  }
  const unsubscribe = () => {
    clearTimeout(timer)
    subscription?.unsubscribe()
  }
  subscribe()
  // What other tabs wrote while this one was frozen, it may not have heard of.
  const stopWatching = watchThaws(subscribe)
  return () => {
    stopWatching()
    unsubscribe()
  }
}
