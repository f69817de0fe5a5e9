/** What is being written, and what the messages above can ask of it: edit this, take that back. */
import { computed, inject, provide, ref, watch, type InjectionKey, type Ref, type WritableComputedRef } from 'vue'
import { useRouter } from 'vue-router'
import { useActions, useDraft, type Id, type ThreadMessage } from '@/composables'
import { chosenModel, longestAnswer } from '@/interface/preferences'
import { notice, offerUndo } from '@/interface/toasts'
import { useAttempt } from '@/interface/useAttempt'
import { useWords } from '@/interface/useWords'

export interface Composer {
  text: WritableComputedRef<string>
  editing: Readonly<Ref<ThreadMessage | null>>
  /** Counts up whenever the field shall take the focus. */
  focusWish: Readonly<Ref<number>>
  send: () => Promise<void>
  stop: () => Promise<void>
  /** Puts a text to begin with into the field. */
  begin: (text: string) => void
  edit: (message: ThreadMessage) => void
  cancelEdit: () => void
  withdraw: (message: ThreadMessage) => Promise<void>
}

const KEY: InjectionKey<Composer> = Symbol('composer')

export function useComposer(): Composer {
  const composer = inject(KEY)
  if (composer === undefined) throw new Error('provideComposer has not been called')
  return composer
}

export function provideComposer(
  conversation: Readonly<Ref<Id | null>>,
  messages: Readonly<Ref<readonly ThreadMessage[]>>,
): void {
  const actions = useActions()
  const router = useRouter()
  const { t } = useWords()
  const draft = useDraft(conversation)
  const editing = ref<ThreadMessage | null>(null)
  const editText = ref('')
  const focusWish = ref(0)
  const text = computed({
    get: () => (editing.value === null ? draft.text.value : editText.value),
    set(value) {
      if (editing.value === null) draft.text.value = value
      else editText.value = value
    },
  })
  watch(conversation, () => {
    editing.value = null
  })
  const attempt = useAttempt()
  const focus = () => {
    focusWish.value += 1
  }
  const how = () => ({
    ...(chosenModel.value === '' ? {} : { model: chosenModel.value }),
    ...(longestAnswer.value > 0 ? { longest: longestAnswer.value } : {}),
  })
  const sendNew = async () => {
    let id: Id | null = null
    await draft.hand(async (words) => {
      id = await actions.send({ conversation: conversation.value, text: words.trim(), ...how() })
    })
    if (conversation.value === null) await router.replace(`/chats/${String(id)}`)
  }
  const sendEdited = async (message: ThreadMessage, words: string) => {
    const now = messages.value.find(({ id }) => id === message.id)
    if (now?.delivery === 'queued') {
      // Nobody has seen it yet: the new words take its place instead of standing beside it.
      await actions.withdraw(message.id)
      await actions.send({ conversation: conversation.value, text: words, parent: message.parent, ...how() })
    } else await actions.edit(message.id, words)
    editing.value = null
  }
  provide(KEY, {
    text,
    editing,
    focusWish,
    send: () =>
      attempt(async () => {
        const words = text.value.trim()
        if (words === '') return
        await (editing.value === null ? sendNew() : sendEdited(editing.value, words))
      }),
    stop: () =>
      attempt(async () => {
        const running = messages.value.filter(({ answer }) => answer?.state === 'running')
        await Promise.all(running.map(({ id }) => actions.stop(id)))
      }),
    begin(words) {
      text.value = words
      focus()
    },
    edit(message) {
      editing.value = message
      editText.value = message.text
      focus()
    },
    cancelEdit() {
      editing.value = null
      focus()
    },
    withdraw: (message) =>
      attempt(async () => {
        const words = await actions.withdraw(message.id)
        if (draft.text.value.trim() === '') {
          draft.text.value = words
          notice(t('thread.withdrawn'))
          focus()
          return
        }
        const again = { conversation: conversation.value, text: words, parent: message.parent, ...how() }
        offerUndo(t('thread.withdrawn'), t('common.undo'), () =>
          attempt(async () => {
            await actions.send(again)
          }),
        )
      }),
  })
}
