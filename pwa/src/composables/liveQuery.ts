import { shallowRef, watch, type ShallowRef } from 'vue'
import { watchQuery } from '../local/watchQuery'

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
      onCleanup(
        watchQuery(query, (value) => {
          result.value = value
        }),
      )
    },
    { immediate: true, flush: 'sync' },
  )
  return result
}
