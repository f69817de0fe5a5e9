/** The composables as the drawings need them: `?scene=` in the address picks what they say. */
import { computed, readonly, ref, watch, type Ref } from 'vue'
import type { PeopleView } from '../src/composables/peopleTypes'
import type { LoginsView } from '../src/composables/loginTypes'
import type { LocalAccessView, SeveralNodes } from '../src/composables/networkTypes'
import type {
  Actions,
  DevicesView,
  InvitationsView,
  Id,
  SessionActions,
  SessionView,
  Status,
  Thread,
} from '../src/composables/types'
import { chats, threads } from './chats'
import { scene } from './scenes'

export type * from '../src/composables/types'
export * from './house'

const conversations = ref(scene.isEmpty ? [] : chats)

export function useConversations() {
  return { conversations: computed(() => conversations.value), loading: readonly(ref(false)) }
}

export function useThread(conversation: Ref<Id | null>): Thread {
  const messages = computed(() => threads.value.get(conversation.value ?? '') ?? [])
  return {
    conversation: computed(() => conversations.value.find(({ id }) => id === conversation.value) ?? null),
    messages,
    hasEarlier: computed(() => false),
    showEarlier: () => undefined,
    loading: readonly(ref(false)),
    answering: computed(() => messages.value.some(({ answer }) => answer?.state === 'running')),
  }
}

export function useStatus() {
  return computed((): Status => scene.status)
}

export function useSession(): SessionView & SessionActions {
  const refuse = () => Promise.reject(Object.assign(new Error('drawing'), { code: scene.refusal }))
  return {
    known: computed(() => scene.isKnown),
    username: computed(() => 'Vera'),
    ended: computed(() => scene.status.problem === 'login_ended'),
    trouble: computed(() => null),
    canVerify: computed(() => true),
    register: refuse,
    login: refuse,
    changePassword: refuse,
    logout: () => Promise.resolve(),
  }
}

export function useDraft(conversation: Ref<Id | null>) {
  const text = ref('')
  watch(conversation, () => {
    text.value = ''
  })
  return {
    text,
    hand: async (store: (words: string) => Promise<void>) => {
      await store(text.value)
      text.value = ''
    },
  }
}

export function useNow() {
  return readonly(ref(Date.now()))
}

export function useInvitations(): InvitationsView {
  const expiresAt = Date.now() + 6 * 86_400_000
  return {
    invitations: computed(() => [
      { id: 'a', stage: 'open' as const, expiresAt },
      { id: 'b', stage: 'used' as const, expiresAt },
    ]),
    invite: () => Promise.resolve('K0RA-7T4M-9XQD-V2HB'),
    takeBack: () => Promise.resolve(),
  }
}

export function useDevices(): DevicesView {
  const nothing = () => Promise.resolve()
  const seenAt = Date.now()
  return {
    devices: computed(() => [
      { id: 'a'.repeat(16), name: 'Phone', isPc: false, seenAt, address: '192.168.1.20', isCurrent: true },
      { id: 'b'.repeat(16), name: 'Study PC', isPc: true, seenAt, address: '192.168.1.7', isCurrent: false },
    ]),
    problem: computed(() => null),
    rename: nothing,
    disconnect: nothing,
  }
}

export function usePeople(): PeopleView {
  const nothing = () => Promise.resolve()
  const both = [
    { id: 'a'.repeat(32), name: 'Vera', isManager: true, isYou: true },
    { id: 'b'.repeat(32), name: 'Mitya', isManager: false, isYou: false },
  ]
  return { people: computed(() => both), problem: computed(() => null), makeManager: nothing, endUse: nothing }
}

export function useLogins(): LoginsView {
  const nothing = () => Promise.resolve()
  return { notices: computed(() => []), wasMine: nothing, wasNotMine: nothing }
}

export function useBin() {
  return computed(() => chats.slice(0, 2))
}

export function useLocalAccess(): LocalAccessView {
  return { obstacle: computed(() => null), ask: () => Promise.resolve(true) }
}

export function useSeveralNodes(): SeveralNodes {
  return {
    settled: computed(() => ({ mainNode: '', asleepPolicy: 'ask' as const })),
    settleMain: () => Promise.resolve(),
    settlePolicy: () => Promise.resolve(),
    main: computed(() => null),
    elsewhere: () => null,
    hasModel: () => true,
    choose: () => Promise.resolve({ node: null, instead: null }),
  }
}

export function useActions(): Actions {
  const nothing = () => Promise.resolve()
  const undo = () => Promise.resolve(nothing)
  return {
    send: ({ conversation }) => Promise.resolve(conversation ?? chats[0]?.id ?? ''),
    regenerate: nothing,
    edit: nothing,
    withdraw: () => Promise.resolve('And a short text in Russian for the plumber'),
    stop: nothing,
    chooseBranch: nothing,
    rename: nothing,
    pin: nothing,
    letOnLocalNetwork: nothing,
    removeConversation: (id) => {
      const kept = conversations.value
      conversations.value = kept.filter((chat) => chat.id !== id)
      return Promise.resolve(() => {
        conversations.value = kept
        return Promise.resolve()
      })
    },
    restoreConversation: nothing,
    purgeConversation: nothing,
    removeMessage: undo,
    removeNode: nothing,
    trustNode: nothing,
    tryNow: nothing,
  }
}
