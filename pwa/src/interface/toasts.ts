/** Short notices above the bottom edge. What can be undone is done at once and offered back for 8 s. */
import { readonly, ref } from 'vue'

export interface Toast {
  id: number
  text: string
  action: { word: string; run: () => unknown } | null
  isFailure: boolean
  /** null stays until acted upon. */
  lastsMs: number | null
}

const SHORT_MS = 4_000
const UNDO_MS = 8_000

const shown = ref<Toast[]>([])
let lastId = 0

export const toasts = readonly(shown)

export function dismissToast(id: number): void {
  shown.value = shown.value.filter((toast) => toast.id !== id)
}

function show(toast: Omit<Toast, 'id'>): number {
  lastId += 1
  shown.value = [...shown.value.slice(-2), { ...toast, id: lastId }]
  return lastId
}

export function notice(text: string): void {
  show({ text, action: null, isFailure: false, lastsMs: SHORT_MS })
}

export function failure(text: string): void {
  show({ text, action: null, isFailure: true, lastsMs: UNDO_MS })
}

export function offerUndo(text: string, word: string, undo: () => unknown): void {
  show({ text, action: { word, run: undo }, isFailure: false, lastsMs: UNDO_MS })
}

/** Stays until it is acted upon; returns its id. */
export function offer(text: string, word: string, run: () => unknown): number {
  return show({ text, action: { word, run }, isFailure: false, lastsMs: null })
}

/** Stays until it is dismissed by the id that is returned. */
export function stay(text: string): number {
  return show({ text, action: null, isFailure: true, lastsMs: null })
}
