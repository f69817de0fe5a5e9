import { shallowRef, watch, type ShallowRef } from 'vue'
import { watchQuery } from '../local/watchQuery'

/** Calls `next` now and whenever something has changed, until the function that it returns is called. */
type Watch<Result> = (next: (result: Result) => void) => () => void

/**
 * Returns the result of the query that `source` gives, renewed whenever what it read changes in any tab; null
 * before the first result and while `source` gives null. Another query begins from null. Ends with its scope.
 */
export function useLiveQuery<Result>(
  source: () => (() => Promise<Result>) | null,
): Readonly<ShallowRef<Result | null>> {
  return useWatched(() => {
    const query = source()
    return query === null ? null : (next) => watchQuery(query, next)
  })
}

/** The same for what is watched in another way. */
export function useWatched<Result>(source: () => Watch<Result> | null): Readonly<ShallowRef<Result | null>> {
  const result = shallowRef<Result | null>(null)
  watch(
    source,
    (begin, _previous, onCleanup) => {
      result.value = null
      if (begin === null) return
      onCleanup(
        begin((value) => {
          result.value = value
        }),
      )
    },
    { immediate: true, flush: 'sync' },
  )
  return result
}
