/** Tells readers of the screen when answers begin to come another way. */
import { watch } from 'vue'
import { announce } from '@/interface/announcer'
import { useWords } from '@/interface/useWords'
import { useStatusWords } from './useStatusWords'

export function useRouteAnnouncements(): void {
  const { t } = useWords()
  const { status, line } = useStatusWords()
  watch(
    () => status.value.kind,
    (kind, previous) => {
      if (kind !== 'connecting' && previous !== 'connecting') announce(t('status.changed', { line: line.value }))
    },
  )
}
