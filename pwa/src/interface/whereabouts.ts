/** Whether the sheet, or on large screens the panel, that says where answers come from is open. */
import { useLocalStorage } from '@vueuse/core'
import { ref } from 'vue'

export const isSheetOpen = ref(false)
export const isPanelOpen = useLocalStorage('domovoi.panel', true)
