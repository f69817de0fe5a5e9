/** What is said aloud. The growing answer itself is no live region. */
import { readonly, ref } from 'vue'

const politely = ref('')
const atOnce = ref('')

export const announcement = readonly(politely)
export const alarm = readonly(atOnce)

/** Said when the reader pauses. */
export function announce(text: string): void {
  politely.value = text
}

/** Said at once: for failures only. */
export function announceFailure(text: string): void {
  atOnce.value = text
}
