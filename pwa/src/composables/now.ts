/** The time, as a reference. */
import { onScopeDispose, readonly, ref, type Ref } from 'vue'

/** Returns the ms since 1970, renewed every `everyMs`. Ends with its scope. */
export function useNow(everyMs: number): Readonly<Ref<number>> {
  const now = ref(Date.now())
  const timer = setInterval(() => {
    now.value = Date.now()
  }, everyMs)
  onScopeDispose(() => {
    clearInterval(timer)
  })
  return readonly(now)
}
