/** Dexie's live queries as Vue references. */
import Dexie, { liveQuery, type Subscription } from 'dexie'
import { shallowRef, watch, type ShallowRef } from 'vue'

/** A query that failed is asked again after this long, ms, and so often. */
const AGAIN_MS = 500
const MOST_FAILURES = 3

/**
 * Returns the result of the query that `source` gives, renewed whenever what it read changes in any tab; null
 * before the first result and while `source` gives null. Another query begins from null. Ends with its scope.
 */
export function useLiveQuery<Result>(
  source: () => (() => Promise<Result>) | null,
): Readonly<ShallowRef<Result | null>> {
  const result = shallowRef<Result | null>(null)
  watch(
    source,
    (query, _previous, onCleanup) => {
      result.value = null
      if (query === null) return
      let failures = 0
      let timer: ReturnType<typeof setTimeout> | undefined
      let subscription: Subscription | undefined
      const subscribe = () => {
        subscription = liveQuery(query).subscribe({
          next: (value) => {
            failures = 0
            result.value = value
          },
          error: (error: unknown) => {
            // A browser may drop its connection to the data, and the next query opens another. A log-out closes the
            // database below its last readers.
            failures += 1
            subscription?.unsubscribe()
            if (failures <= MOST_FAILURES) timer = setTimeout(subscribe, AGAIN_MS)
            else if (!(error instanceof Dexie.DatabaseClosedError)) reportError(error)
          },
        })
      }
      subscribe()
      onCleanup(() => {
        clearTimeout(timer)
        subscription?.unsubscribe()
      })
    },
    { immediate: true, flush: 'sync' },
  )
  return result
}
