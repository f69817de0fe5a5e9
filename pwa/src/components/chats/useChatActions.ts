/** What a person does to a whole chat, with its notices. */
import { useRoute, useRouter } from 'vue-router'
import { useActions, type ConversationSummary } from '@/composables'
import { offerUndo } from '@/interface/toasts'
import { useAttempt } from '@/interface/useAttempt'
import { useWords } from '@/interface/useWords'

export function useChatActions() {
  const actions = useActions()
  const { t } = useWords()
  const route = useRoute()
  const router = useRouter()
  const attempt = useAttempt()
  return {
    pin: (chat: ConversationSummary) => attempt(() => actions.pin(chat.id, !chat.pinned)),
    rename: (chat: ConversationSummary, title: string) => attempt(() => actions.rename(chat.id, title)),
    remove: (chat: ConversationSummary) =>
      attempt(async () => {
        const undo = await actions.removeConversation(chat.id)
        const wasShown = route.params['id'] === chat.id
        if (wasShown) await router.replace('/chats')
        offerUndo(t('chats.deleted'), t('common.undo'), () =>
          attempt(async () => {
            await undo()
            if (wasShown) await router.push(`/chats/${chat.id}`)
          }),
        )
      }),
  }
}
