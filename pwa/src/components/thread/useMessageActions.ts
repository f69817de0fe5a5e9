/** What a person does to one message, with its notices. */
import { useActions, type Id, type ThreadMessage } from '@/composables'
import { copyText } from '@/interface/clipboard'
import { failure, notice, offerUndo } from '@/interface/toasts'
import { useAttempt } from '@/interface/useAttempt'
import { useWords } from '@/interface/useWords'

export function useMessageActions() {
  const actions = useActions()
  const { t } = useWords()
  const attempt = useAttempt()
  return {
    answerAgain: (answer: Id) => attempt(() => actions.regenerate(answer)),
    askOf: (answer: Id, node: Id) => attempt(() => actions.regenerate(answer, node)),
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
