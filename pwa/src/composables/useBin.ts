import { computed, type ComputedRef } from 'vue'
import { readDeleted } from '../local/reads'
import { useDomovoi } from '../stores/domovoi'
import { useLiveQuery } from './liveQuery'
import type { DeletedConversation } from './types'

/** Deleted conversations, the newest first; null until they have been read. */
export function useBin(): ComputedRef<DeletedConversation[] | null> {
  const { engine } = useDomovoi()
  const deleted = useLiveQuery(() => {
    const db = engine.value?.db
    return db === undefined ? null : () => readDeleted(db)
  })
  return computed(
    () => deleted.value?.map(({ id, title, snippet, updatedAt }) => ({ id, title, snippet, updatedAt })) ?? null,
  )
}
