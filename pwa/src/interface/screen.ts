/** What the screen and the hand allow. The widths are those of the drawings. */
import { useMediaQuery } from '@vueuse/core'

/** Room for the sidebar. */
export const useIsWide = () => useMediaQuery('(min-width: 900px)')
/** Room for the detail panel beside the thread. */
export const useHasPanel = () => useMediaQuery('(min-width: 1200px)')
export const useIsCoarse = () => useMediaQuery('(pointer: coarse)')
