import { computed, shallowRef, watch, type Ref } from 'vue'
import { readThread } from '../local/reads'
import { useDomovoi } from '../stores/domovoi'
import { useLiveQuery } from './liveQuery'
import { useGoneNodes, useNodes, usePending, useUnacknowledged } from './situation'
import { viewSummary } from './summaryView'
import { followedLeaf, viewThread } from './threadView'
import type { ConversationSummary, Id, Thread, ThreadMessage } from './types'

/** One conversation on the screen: its shown branch, growing while an answer streams. */
export function useThread(conversation: Ref<Id | null>): Thread {
  const { engine } = useDomovoi()
  const stored = useLiveQuery(() => {
    const db = engine.value?.db
    const id = conversation.value
    return db === undefined || id === null ? null : () => readThread(db, id)
  })
  const leaf = useFollowedLeaf(stored)
  const nodes = useNodes()
  const gone = useGoneNodes(nodes)
  useWatchedAnswers(conversation)

  const live = computed(() => engine.value?.answers.live ?? new Map())
  const messages = computed((): ThreadMessage[] => {
    if (stored.value === null || engine.value === null) return []
    return viewThread(stored.value, leaf.value, {
      nodeNames: new Map((nodes.value ?? []).map((node) => [node.node_id, node.name])),
      gone: gone.value,
      live: live.value,
      link: engine.value.link,
    })
  })
  const pending = usePending()
  const unacknowledged = useUnacknowledged()
  const summary = computed((): ConversationSummary | null => {
    if (!stored.value?.summary) return null
    const context = { pending: pending.value, unacknowledged: unacknowledged.value.requests, gone: gone.value }
    return viewSummary(stored.value.summary, { ...context, live: live.value })
  })
  return {
    conversation: summary,
    messages,
    loading: computed(() => conversation.value !== null && stored.value === null),
    answering: computed(() => messages.value.some((message) => message.answer?.state === 'running')),
  }
}

type Stored = Readonly<Ref<Awaited<ReturnType<typeof readThread>> | null>>

function useFollowedLeaf(stored: Stored): Readonly<Ref<Id | null>> {
  const leaf = shallowRef<Id | null>(null)
  watch(
    stored,
    (thread) => {
      leaf.value = thread === null ? null : followedLeaf(leaf.value, thread)
    },
    { immediate: true, flush: 'sync' },
  )
  return leaf
}

/** Answers of the conversation on the screen are watched by this tab. */
function useWatchedAnswers(conversation: Ref<Id | null>): void {
  const { engine } = useDomovoi()
  watch(
    () => [engine.value?.answers, conversation.value] as const,
    ([answers, id], _previous, onCleanup) => {
      if (answers !== undefined && id !== null) onCleanup(answers.open(id))
    },
    { immediate: true },
  )
}
