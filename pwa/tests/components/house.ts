/** A house that tests can arrange: the composables as components see them, and what was asked of them. */
import { computed, reactive, ref, type Ref } from 'vue'
import { vi } from 'vitest'
import type { AccountSettings, AsleepPolicy, LocalObstacle, NodeName } from '@/composables/networkTypes'
import type {
  AnswerView,
  ApiKey,
  CatalogueOffer,
  ConversationSummary,
  DeletedConversation,
  DeviceView,
  Id,
  ModelView,
  NodeView,
  PairingPc,
  PairingStage,
  Status,
  InvitationView,
  StepDown,
  ThreadMessage,
} from '@/composables/types'
import type { LoginNoticeView } from '@/composables/loginTypes'
import type { PersonView } from '@/composables/peopleTypes'

export const status = ref<Status>(homeStatus())
export const conversations = ref<ConversationSummary[]>([])
export const messages = ref<ThreadMessage[]>([])
export const hasEarlier = ref(false)
export const ended = ref(false)
export const trouble = ref<'blocked' | 'superseded' | null>(null)
export const draft = ref('')
export const devices = ref<DeviceView[] | null>([])
export const logins = ref<LoginNoticeView[]>([])
export const canVerify = ref(true)
export const people = ref<PersonView[] | null>(null)
export const invitations = ref<InvitationView[] | null>(null)
export const bin = ref<DeletedConversation[] | null>([])

/** What the PC says of its models, and of the keys to them. */
export const library = reactive({
  models: [] as ModelView[],
  offers: [] as CatalogueOffer[],
  steps: [] as StepDown[],
  problem: null as string | null,
  isManaged: true,
  isStrange: false,
})
export const keys = reactive({ list: [] as ApiKey[] })
/** How far a pairing is, and which PC has come. */
export const pairing = reactive<{ stage: PairingStage; pc: PairingPc | null }>({ stage: 'password', pc: null })

/** What is in the way of calls at home, and whether the PC answers there. */
export const network = reactive({ obstacle: null as LocalObstacle | null, isOn: false })

/** The PC that was chosen, and who else is there. */
export const several = reactive({
  main: null as (NodeName & { isThere: boolean }) | null,
  elsewhere: null as NodeName | null,
  instead: null as NodeName | null,
  settled: unsettled(),
  /** PCs beside the one at home. */
  others: [] as NodeView[],
})

export const asked = {
  load: vi.fn<(model: ModelView) => Promise<void>>(() => Promise.resolve()),
  unload: vi.fn<(model: ModelView) => Promise<void>>(() => Promise.resolve()),
  use: vi.fn<(model: ModelView) => Promise<void>>(() => Promise.resolve()),
  remove: vi.fn<(model: ModelView) => Promise<void>>(() => Promise.resolve()),
  pull: vi.fn<(offer: CatalogueOffer, accept: boolean) => Promise<void>>(() => Promise.resolve()),
  stopPull: vi.fn<(file: string) => Promise<void>>(() => Promise.resolve()),
  makeKey: vi.fn((name: string) => Promise.resolve({ key: key(name), secret: 'sk-secret' })),
  revokeKey: vi.fn<(key: ApiKey) => Promise<void>>(() => Promise.resolve()),
  send: vi.fn(() => Promise.resolve('c'.repeat(32))),
  regenerate: vi.fn(() => Promise.resolve()),
  edit: vi.fn(() => Promise.resolve()),
  withdraw: vi.fn(() => Promise.resolve('taken back')),
  stop: vi.fn(() => Promise.resolve()),
  chooseBranch: vi.fn(() => Promise.resolve()),
  rename: vi.fn(() => Promise.resolve()),
  pin: vi.fn(() => Promise.resolve()),
  undo: vi.fn(() => Promise.resolve()),
  removeConversation: vi.fn(() => Promise.resolve(asked.undo)),
  renameDevice: vi.fn<(device: DeviceView, name: string) => Promise<void>>(() => Promise.resolve()),
  disconnect: vi.fn<(device: DeviceView) => Promise<void>>(() => Promise.resolve()),
  makeManager: vi.fn<(person: PersonView, password: string) => Promise<void>>(() => Promise.resolve()),
  endUse: vi.fn<(person: PersonView) => Promise<void>>(() => Promise.resolve()),
  wasMine: vi.fn<(notice: LoginNoticeView) => Promise<void>>(() => Promise.resolve()),
  wasNotMine: vi.fn<(notice: LoginNoticeView) => Promise<void>>(() => Promise.resolve()),
  invite: vi.fn(() => Promise.resolve('K0RA-7T4M')),
  takeInvitationBack: vi.fn<(invitation: InvitationView) => Promise<void>>(() => Promise.resolve()),
  restoreConversation: vi.fn<(id: Id) => Promise<void>>(() => Promise.resolve()),
  purgeConversation: vi.fn<(id: Id) => Promise<void>>(() => Promise.resolve()),
  removeMessage: vi.fn(() => Promise.resolve(asked.undo)),
  letOnLocalNetwork: vi.fn<(id: Id, isOn: boolean) => Promise<void>>((_id, isOn) => {
    network.isOn = isOn
    return Promise.resolve()
  }),
  askLocalAccess: vi.fn(() => Promise.resolve(true)),
  removeNode: vi.fn<(id: Id) => Promise<void>>(() => Promise.resolve()),
  trustNode: vi.fn<(id: Id) => Promise<void>>(() => Promise.resolve()),
  beginPairing: vi.fn<(password: string) => Promise<void>>(() => paired('waiting')),
  confirmPairing: vi.fn<() => Promise<void>>(() => paired('paired')),
  refusePairing: vi.fn<() => Promise<void>>(() => paired('over')),
  showEarlier: vi.fn(() => undefined),
  tryNow: vi.fn(() => Promise.resolve()),
  register: vi.fn<(form: unknown) => Promise<void>>(() => Promise.resolve()),
  changePassword: vi.fn<(now: string, next: string) => Promise<void>>(() => Promise.resolve()),
  login: vi.fn<(form: unknown) => Promise<void>>(() => Promise.resolve()),
  logout: vi.fn<(options: { wipe: boolean }) => Promise<void>>(() => Promise.resolve()),
}

export function rearrange(): void {
  status.value = homeStatus()
  conversations.value = []
  messages.value = []
  hasEarlier.value = false
  ended.value = false
  trouble.value = null
  draft.value = ''
  bin.value = []
  invitations.value = null
  devices.value = []
  logins.value = []
  canVerify.value = true
  people.value = null
  Object.assign(library, { models: [], offers: [], steps: [], problem: null, isManaged: true, isStrange: false })
  keys.list = []
  Object.assign(several, { main: null, elsewhere: null, instead: null, settled: unsettled(), others: [] })
  Object.assign(network, { obstacle: null, isOn: false })
  Object.assign(pairing, { stage: 'password', pc: null })
  for (const question of Object.values(asked)) question.mockClear()
}

/** Stands for '@/composables'. */
export const composables = {
  useStatus: () => computed(() => status.value),
  useNow: () => ref(Date.now()),
  useSeveralNodes: () => ({
    settled: computed(() => several.settled),
    settleMain: (mainNode: string) => {
      several.settled = { ...several.settled, mainNode }
      return Promise.resolve()
    },
    settlePolicy: (asleepPolicy: AsleepPolicy) => {
      several.settled = { ...several.settled, asleepPolicy }
      return Promise.resolve()
    },
    main: computed(() => several.main),
    elsewhere: () => several.elsewhere,
    hasModel: () => true,
    choose: () => Promise.resolve({ node: several.main, instead: several.instead }),
  }),
  useLocalAccess: () => ({ obstacle: computed(() => network.obstacle), ask: asked.askLocalAccess }),
  useNodes: () => computed(() => [homeNode(), ...several.others]),
  useLibrary: () => ({
    models: computed(() => library.models),
    offers: computed(() => library.offers),
    diskFree: ref(1e9),
    proposal: ref(''),
    steps: computed(() => library.steps),
    problem: computed(() => library.problem),
    ...{ load: asked.load, unload: asked.unload, use: asked.use, remove: asked.remove },
    ...{ pull: asked.pull, stopPull: asked.stopPull, refresh: () => Promise.resolve() },
  }),
  useKeys: () => ({
    keys: computed(() => keys.list),
    problem: ref(null),
    address: ref('http://localhost:8461/v1'),
    make: asked.makeKey,
    revoke: asked.revokeKey,
  }),
  usePairing: () => ({
    stage: computed(() => pairing.stage),
    code: ref('7KQ2-M9XD-4HTB-W3Z8'),
    address: ref('https://home.example.org'),
    expiresAt: ref(Date.now() + 600_000),
    pc: computed(() => pairing.pc),
    ...{ begin: asked.beginPairing, confirm: asked.confirmPairing, refuse: asked.refusePairing },
    again: () => void paired('password'),
  }),
  useActions: () => asked,
  useDevices: () => ({
    devices: computed(() => devices.value),
    problem: ref(null),
    rename: asked.renameDevice,
    disconnect: asked.disconnect,
  }),
  useLogins: () => ({
    notices: computed(() => logins.value),
    wasMine: asked.wasMine,
    wasNotMine: asked.wasNotMine,
  }),
  usePeople: () => ({
    people: computed(() => people.value),
    problem: ref(null),
    makeManager: asked.makeManager,
    endUse: asked.endUse,
  }),
  useInvitations: () => ({
    invitations: computed(() => invitations.value),
    invite: asked.invite,
    takeBack: asked.takeInvitationBack,
  }),
  useBin: () => computed(() => bin.value),
  useConversations: () => ({ conversations: computed(() => conversations.value), loading: ref(false) }),
  useDraft: () => ({
    text: draft,
    hand: async (store: (words: string) => Promise<void>) => {
      await store(draft.value)
      draft.value = ''
    },
  }),
  useThread: (id: Ref<Id | null>) => ({
    conversation: computed(() => conversations.value.find((chat) => chat.id === id.value) ?? null),
    messages: computed(() => (id.value === null ? [] : messages.value)),
    hasEarlier: computed(() => hasEarlier.value),
    showEarlier: asked.showEarlier,
    loading: ref(false),
    answering: computed(() => messages.value.some(({ answer }) => answer?.state === 'running')),
  }),
  useSession: () => ({
    known: computed(() => true),
    username: computed(() => 'Vera'),
    ended: computed(() => ended.value),
    trouble: computed(() => trouble.value),
    canVerify: computed(() => canVerify.value),
    register: asked.register,
    login: asked.login,
    changePassword: asked.changePassword,
    logout: asked.logout,
  }),
}

function paired(stage: PairingStage): Promise<void> {
  pairing.stage = stage
  return Promise.resolve()
}

function unsettled(): AccountSettings {
  return { mainNode: '', asleepPolicy: 'ask' }
}

export function homeStatus(): Status {
  return {
    ...{ kind: 'direct', latencyMs: 4, serverMs: 18, nodeMs: 4, nodeId: 'f'.repeat(32), nodeName: 'Study PC' },
    ...{
      nodeAwake: true,
      nodeSince: null,
      nodeDeparture: 'unknown',
      isCompatible: false,
      ways: [],
      model: 'Qwen3-8B',
      engine: 'llama.cpp',
      queued: 0,
      unsynced: 0,
    },
    ...{ models: ['Qwen3-8B'], loaded: [], steps: [] },
    ...{ inStepAt: Date.now(), nextTryAt: null, problem: null },
  }
}

export function chat(id: Id, title: string, more: Partial<ConversationSummary> = {}): ConversationSummary {
  const plain = { snippet: '', updatedAt: Date.now(), pinned: false, queued: 0 }
  const marks = { failed: false, answering: false, unread: false }
  return { id, title, ...plain, ...marks, ...more }
}

export function said(id: Id, text: string, more: Partial<ThreadMessage> = {}): ThreadMessage {
  const plain = { parent: null, createdAt: Date.now(), delivery: 'accepted', siblings: [id], answer: null } as const
  return { id, role: 'user', text, ...plain, siblings: [id], ...more }
}

export function answered(id: Id, text: string, more: Partial<AnswerView> = {}, siblings = [id]): ThreadMessage {
  const answer: AnswerView = {
    ...{ state: 'done', blocked: false, code: null, node: 'f'.repeat(32), nodeName: 'Study PC', model: 'Qwen3-8B' },
    ...{ engine: 'llama.cpp', route: 'direct', firstTokenMs: 210, durationMs: 3500, tokens: 212, tokensPerSecond: 61 },
    ...{ droppedMessages: 0, notices: [] },
    ...more,
  }
  return { id, role: 'assistant', parent: null, text, createdAt: Date.now(), delivery: null, siblings, answer }
}

export function homeNode(): NodeView {
  return {
    ...{ id: 'f'.repeat(32), name: 'Study PC', awake: true, since: Date.now(), route: 'direct', latencyMs: 4 },
    departure: 'unknown',
    ...{
      version: '0.4.1',
      engine: 'native',
      model: 'Qwen3-8B',
      generating: 0,
      queue: 0,
      tokensPerSecond: 61,
      steps: [],
      isManaged: library.isManaged,
      isOnLocalNetwork: network.isOn,
      isStrange: library.isStrange,
    },
  }
}

export function model(name: string, more: Partial<ModelView> = {}): ModelView {
  return {
    ...{ file: name, name, state: 'idle', isDefault: false, size: 5e9, done: 5e9, total: 5e9, code: null, detail: '' },
    ...{ quantisation: 'Q4_K_M', context: 32_768, loadedContext: 0, licence: 'apache-2.0', fits: 'fits' },
    ...{ fittingContext: 32_768, engine: null, tokensPerSecond: null, offer: null },
    ...more,
  }
}

export function step(more: Partial<StepDown>): StepDown {
  const plain = { at_ms: Date.now(), model: 'Qwen3-8B', engine: 'native', what: 'engine', to: '', detail: 'Said so.' }
  return { ...plain, code: 'out_of_memory', ...more }
}

export function key(name: string): ApiKey {
  return { key_id: name, name, prefix: 'sk-se', created_ms: Date.now(), last_used_ms: null }
}
