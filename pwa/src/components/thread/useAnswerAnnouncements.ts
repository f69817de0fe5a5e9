/** Tells readers of the screen when an answer begins, is ready or fails. What was so before says nothing. */
import { computed, watch, type Ref } from 'vue'
import type { ThreadMessage } from '@/composables'
import { announce, announceFailure } from '@/interface/announcer'
import { useWords } from '@/interface/useWords'

export function useAnswerAnnouncements(messages: Readonly<Ref<readonly ThreadMessage[]>>): void {
  const { t, count, explain } = useWords()
  const last = computed(() => messages.value.findLast(({ answer }) => answer !== null))
  watch(
    () => [last.value?.id, last.value?.answer?.state] as const,
    ([id, state], [previousId, previousState]) => {
      if (state === previousState || (id !== previousId && state !== 'running')) return
      if (state === 'running') announce(t('answer.answering'))
      else if (state === 'done') announce(count('answer.ready', last.value?.answer?.tokens ?? 0))
      else if (state === 'stopped') announce(t('answer.stopped'))
      else if (state === 'failed') announceFailure(`${t('answer.failed')}. ${explain(last.value?.answer?.code)}`)
      else if (state === 'interrupted') announceFailure(t('answer.halfway'))
    },
  )
}
