/** What is being written, and what the messages above can ask of it: edit this, take that back. */
import {
  computed,
  inject,
  provide,
  ref,
  shallowRef,
  watch,
  type InjectionKey,
  type Ref,
  type ShallowRef,
  type WritableComputedRef,
} from 'vue'
import { useRouter } from 'vue-router'
import { useActions, useDraft, useSeveralNodes, type Id, type NodeName, type ThreadMessage } from '@/composables'
import { chosenModel, longestAnswer } from '@/interface/preferences'
import { notice, offerUndo } from '@/interface/toasts'
import { useAttempt } from '@/interface/useAttempt'
import { useWords } from '@/interface/useWords'

/** The PC that was chosen sleeps, and another one could answer now. */
export interface AsleepQuestion {
  node: NodeName
  other: NodeName
  settle: (node: Id | null) => void
}

export interface Composer {
  text: WritableComputedRef<string>
  editing: Readonly<Ref<ThreadMessage | null>>
  /** Counts up whenever the field shall take the focus. */
  focusWish: Readonly<Ref<number>>
  /** Which PC shall answer, while nobody has said. */
  question: Readonly<ShallowRef<AsleepQuestion | null>>
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
  const several = useSeveralNodes()
  /** The person is asked which PC shall answer; settled by what they say, null where they turned away. */
  const question = shallowRef<AsleepQuestion | null>(null)
  const askWhich = async (): Promise<{ node?: Id } | null> => {
    const { node, instead } = await several.choose()
    if (node === null || instead === null) return {}
    return new Promise((resolve) => {
      question.value = {
        node,
        other: instead,
        settle: (id) => {
          question.value = null
          resolve(id === null ? null : { node: id })
        },
      }
    })
  }
  const how = () => ({
    ...(chosenModel.value === '' ? {} : { model: chosenModel.value }),
    ...(longestAnswer.value > 0 ? { longest: longestAnswer.value } : {}),
  })
  const sendNew = async () => {
    let id: Id | null = null
    const which = await askWhich()
    if (which === null) return
    await draft.hand(async (words) => {
      id = await actions.send({ conversation: conversation.value, text: words.trim(), ...how(), ...which })
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
    question,
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
