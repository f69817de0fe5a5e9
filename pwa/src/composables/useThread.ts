import { computed, shallowRef, watch, type ComputedRef, type Ref } from 'vue'
import { readThread } from '../local/reads'
import { useDomovoi } from '../stores/domovoi'
import { useLiveQuery } from './liveQuery'
import { useSituation } from './situation'
import { viewSummary } from './summaryView'
import { followedLeaf, isSameShown, shownBranch, viewMessage, type ShownMessage } from './threadView'
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
  const { nodes, gone, pending, unacknowledged } = useSituation()
  useShown(conversation)

  const nodeNames = computed(() => new Map((nodes.value ?? []).map((node) => [node.node_id, node.name])))
  const view = (shown: ShownMessage): View => {
    const message = computed(() => {
      if (engine.value === null) return null
      const { link, answers } = engine.value
      return viewMessage(shown, { nodeNames: nodeNames.value, gone: gone.value, live: answers.live, link })
    })
    return { shown, message }
  }
  // A computed for each message: while one changes, the others keep their identity and render nothing.
  const views = computed((before: Map<Id, View> = new Map()) => {
    const branch = stored.value === null ? [] : shownBranch(stored.value, leaf.value)
    return new Map(
      branch.map((shown) => {
        const known = before.get(shown.message.id)
        return [shown.message.id, known !== undefined && isSameShown(known.shown, shown) ? known : view(shown)]
      }),
    )
  })
  const messages = computed(() =>
    [...views.value.values()].map(({ message }) => message.value).filter((message) => message !== null),
  )
  const summary = computed((): ConversationSummary | null => {
    const record = stored.value?.summary ?? null
    if (record === null || record.deleted || engine.value === null) return null
    const { live } = engine.value.answers
    const { requests } = unacknowledged.value
    return viewSummary(record, { pending: pending.value, unacknowledged: requests, gone: gone.value, live })
  })
  return {
    conversation: summary,
    messages,
    loading: computed(() => conversation.value !== null && stored.value === null),
    answering: computed(() => messages.value.some((message) => message.answer?.state === 'running')),
  }
}

interface View {
  shown: ShownMessage
  message: ComputedRef<ThreadMessage | null>
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

/** The conversation on the screen is read first, and its answers are watched by this tab. */
function useShown(conversation: Ref<Id | null>): void {
  const { engine } = useDomovoi()
  watch(
    () => [engine.value, conversation.value] as const,
    ([opened, id], _previous, onCleanup) => {
      if (opened !== null && id !== null) onCleanup(opened.show(id))
    },
    { immediate: true },
  )
}
