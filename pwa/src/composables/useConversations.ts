import { computed, type ComputedRef, type Ref } from 'vue'
import { readSummaries } from '../local/reads'
import { useDomovoi } from '../stores/domovoi'
import { useLiveQuery } from './liveQuery'
import { useSituation } from './situation'
import { viewSummary } from './summaryView'
import type { ConversationSummary } from './types'

/** The conversations of this account, pinned ones first, then the newest. */
export function useConversations(): {
  conversations: ComputedRef<ConversationSummary[]>
  loading: Readonly<Ref<boolean>>
} {
  const { engine } = useDomovoi()
  const summaries = useLiveQuery(() => {
    const db = engine.value?.db
    return db === undefined ? null : () => readSummaries(db)
  })
  const { pending, unacknowledged, gone } = useSituation()
  const conversations = computed(() =>
    (summaries.value ?? []).map((summary) =>
      viewSummary(summary, {
        pending: pending.value,
        unacknowledged: unacknowledged.value.requests,
        live: engine.value?.answers.live ?? new Map(),
        gone: gone.value,
      }),
    ),
  )
  return { conversations, loading: computed(() => summaries.value === null) }
}
