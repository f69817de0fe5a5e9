import { onScopeDispose, ref, watch, type Ref } from 'vue'
import type { AccountDatabase } from '../local/database'
import { readDraft, saveDraft } from '../local/drafts'
import { hasCode } from '../protocol/errors'
import { useDomovoi } from '../stores/domovoi'
import type { Id } from './types'

const SAVE_AFTER_MS = 300

export interface Draft {
  text: Ref<string>
  /**
   * Empties the field and gives its words to `store`. What is kept of them goes when `store` has resolved; when it
   * rejects, they come back into the field.
   */
  hand: (store: (words: string) => Promise<void>) => Promise<void>
}

/** The unsent text of a conversation, kept in IndexedDB. */
export function useDraft(conversation: Ref<Id | null>): Draft {
  const { engine } = useDomovoi()
  const text = ref('')
  let place: { db: AccountDatabase; id: Id | null } | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let isTyped = true
  /** While words are handed over, what is kept stays: it is all there would be after a crash. */
  let handing = 0

  const save = () => {
    clearTimeout(timer)
    timer = undefined
    if (place === null) return
    saveDraft(place.db, place.id, text.value).catch((error: unknown) => {
      // The words are in the field; where there is no room for them, sending says so.
      if (!hasCode(error, 'device_full')) throw error
    })
  }
  const saveIfWaiting = () => {
    if (timer !== undefined) save()
  }
  const show = (kept: string) => {
    isTyped = false
    text.value = kept
    isTyped = true
  }
  const load = async (db: AccountDatabase, id: Id | null) => {
    const kept = await readDraft(db, id)
    // What a person has typed meanwhile counts more.
    if (place?.db === db && place.id === id && text.value === '') show(kept)
  }
  watch(
    () => [engine.value?.db, conversation.value] as const,
    ([db, id]) => {
      saveIfWaiting()
      const isFirst = place === null
      place = db === undefined ? null : { db, id }
      if (!isFirst) show('')
      if (db !== undefined) void load(db, id)
    },
    { immediate: true, flush: 'sync' },
  )
  watch(
    text,
    () => {
      clearTimeout(timer)
      timer = undefined
      if (isTyped && handing === 0) timer = setTimeout(save, SAVE_AFTER_MS)
    },
    { flush: 'sync' },
  )
  onScopeDispose(saveIfWaiting)
  return {
    text,
    async hand(store) {
      const words = text.value
      clearTimeout(timer)
      timer = undefined
      handing += 1
      show('')
      try {
        await store(words)
      } catch (error) {
        // What a person has typed meanwhile counts more.
        if (text.value === '') show(words)
        throw error
      } finally {
        handing -= 1
        if (handing === 0) save()
      }
    },
  }
}
