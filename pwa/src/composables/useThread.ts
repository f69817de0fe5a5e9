import { useDocumentVisibility } from '@vueuse/core'
import { computed, shallowRef, watch, type ComputedRef, type Ref } from 'vue'
import type { StoredThread } from '../local/reads'
import { noteSeen } from '../local/seen'
import { watchThread } from '../local/watchThread'
import { Tree } from '../protocol/messages'
import { useDomovoi } from '../stores/domovoi'
import { useWatched } from './liveQuery'
import { useSituation } from './situation'
import { viewSummary } from './summaryView'
import { followedLeaf, isSameShown, shownBranch, viewMessage, type ShownMessage } from './threadView'
import type { ConversationSummary, Id, Thread, ThreadMessage } from './types'

/** Messages that come at a time. */
const PAGE = 20

/** One conversation on the screen: its shown branch, growing while an answer streams. */
export function useThread(conversation: Ref<Id | null>): Thread {
  const { engine } = useDomovoi()
  const stored = useWatched<StoredThread>(() => {
    const db = engine.value?.db
    const id = conversation.value
    return db === undefined || id === null ? null : (next) => watchThread(db, id, next)
  })
  const tree = computed(() => (stored.value === null ? null : new Tree(stored.value.messages)))
  const leaf = useFollowedLeaf(stored, tree)
  const most = useWindow(conversation)
  const { nodes, gone, pending, unacknowledged } = useSituation()
  useShown(conversation)
  useSeenAnswers(conversation, stored)

  const nodeNames = computed(() => new Map((nodes.value ?? []).map((node) => [node.node_id, node.name])))
  const view = (shown: ShownMessage): View => {
    const message = computed(() => {
      if (engine.value === null) return null
      const { link, answers } = engine.value
      return viewMessage(shown, { nodeNames: nodeNames.value, gone: gone.value, live: answers.live, link })
    })
    return { shown, message }
  }
  const branch = computed(() =>
    stored.value === null || tree.value === null
      ? { shown: [], hasEarlier: false }
      : shownBranch(stored.value, tree.value, leaf.value, most.value),
  )
  // A computed for each message: while one changes, the others keep their identity and render nothing.
  const views = computed((before: Map<Id, View> = new Map()) => {
    return new Map(
      branch.value.shown.map((shown) => {
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
    hasEarlier: computed(() => branch.value.hasEarlier),
    showEarlier() {
      most.value += PAGE
    },
    loading: computed(() => conversation.value !== null && stored.value === null),
    answering: computed(() => messages.value.some((message) => message.answer?.state === 'running')),
  }
}

interface View {
  shown: ShownMessage
  message: ComputedRef<ThreadMessage | null>
}

type Stored = Readonly<Ref<StoredThread | null>>

/** How many messages to show from the end: each conversation opens with a page of them. */
function useWindow(conversation: Ref<Id | null>): Ref<number> {
  const most = shallowRef(PAGE)
  watch(
    conversation,
    () => {
      most.value = PAGE
    },
    { flush: 'sync' },
  )
  return most
}

function useFollowedLeaf(stored: Stored, tree: Readonly<Ref<Tree | null>>): Readonly<Ref<Id | null>> {
  const leaf = shallowRef<Id | null>(null)
  watch(
    stored,
    (thread) => {
      leaf.value = thread === null || tree.value === null ? null : followedLeaf(leaf.value, thread, tree.value)
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

/** What is on a visible screen has been seen. */
function useSeenAnswers(conversation: Ref<Id | null>, stored: Stored): void {
  const { engine } = useDomovoi()
  const visibility = useDocumentVisibility()
  watch(
    () => [visibility.value, stored.value?.summary?.answeredAt ?? null] as const,
    ([visible, answeredAt]) => {
      const db = engine.value?.db
      if (visible !== 'visible' || db === undefined || conversation.value === null || answeredAt === null) return
      void noteSeen(db, conversation.value, answeredAt)
    },
    { immediate: true },
  )
}
