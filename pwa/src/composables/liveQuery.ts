/** Dexie's live queries as Vue references. */
import Dexie, { liveQuery } from 'dexie'
import { shallowRef, watch, type ShallowRef } from 'vue'

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
      const subscription = liveQuery(query).subscribe({
        next: (value) => {
          result.value = value
        },
        error: (error: unknown) => {
          // A log-out closes the database below its last readers.
          if (!(error instanceof Dexie.DatabaseClosedError)) reportError(error)
        },
      })
      onCleanup(() => {
        subscription.unsubscribe()
      })
    },
    { immediate: true, flush: 'sync' },
  )
  return result
}
