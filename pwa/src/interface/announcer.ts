/** What the polite status region says: the growing answer itself is no live region. */
import { readonly, ref } from 'vue'

const words = ref('')

export const announcement = readonly(words)

export function announce(text: string): void {
  words.value = text
}
