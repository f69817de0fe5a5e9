/** Says when another window of the app is in the way of this one's data, for as long as it is. */
import { watch } from 'vue'
import { useSession } from '@/composables'
import { dismissToast, offer, stay } from '@/interface/toasts'
import { useWords } from '@/interface/useWords'

export function useTroubleNotice(): void {
  const { trouble } = useSession()
  const { t } = useWords()
  watch(
    trouble,
    (now, _before, onCleanup) => {
      if (now === null) return
      const text = t(`trouble.${now}`)
      const id = now === 'blocked' ? stay(text) : offer(text, t('trouble.reload'), () => location.reload())
      onCleanup(() => {
        dismissToast(id)
      })
    },
    { immediate: true },
  )
}
