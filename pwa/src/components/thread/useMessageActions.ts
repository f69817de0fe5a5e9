/** What a person does to one message, with its notices. */
import { useActions, type Id, type ThreadMessage } from '@/composables'
import { copyText } from '@/interface/clipboard'
import { failure, notice, offerUndo } from '@/interface/toasts'
import { useWords } from '@/interface/useWords'

export function useMessageActions() {
  const actions = useActions()
  const { t, explain } = useWords()

  const attempt = async (deed: () => Promise<void>) => {
    try {
      await deed()
    } catch (error) {
      failure(explain(error))
    }
  }
  return {
    answerAgain: (answer: Id) => attempt(() => actions.regenerate(answer)),
    choose: (message: Id) => attempt(() => actions.chooseBranch(message)),
    tryNow: () => attempt(() => actions.tryNow()),
    remove: (message: ThreadMessage) =>
      attempt(async () => {
        const undo = await actions.removeMessage(message.id)
        const words = t(message.role === 'user' ? 'thread.messageDeleted' : 'thread.answerDeleted')
        offerUndo(words, t('common.undo'), () => attempt(undo))
      }),
    async copy(message: ThreadMessage): Promise<void> {
      if (await copyText(message.text)) notice(t('common.copied'))
      else failure(t('common.copyRefused'))
    },
  }
}
