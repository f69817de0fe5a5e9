/** Which of several PCs a person wants answers from on this device. */
import { useLocalStorage } from '@vueuse/core'

/** What is done with a question while that PC sleeps. */
export type AsleepPolicy = 'wait' | 'another' | 'ask'

/** By id; '' for whichever is there. */
export const mainNode = useLocalStorage('domovoi.mainNode', '')
export const whenAsleep = useLocalStorage<AsleepPolicy>('domovoi.whenAsleep', 'ask')
