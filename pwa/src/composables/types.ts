/**
 * What the interface knows of the world: plain, read-only views of what IndexedDB and the network say,
 * and the actions a person can take. Components import this file and the composables, nothing below them.
 */
import type { ComputedRef, Ref } from 'vue'

import type { Departure, WayView } from './networkTypes'
import type { ApiKey, CatalogueOffer, ModelStatus, NewApiKey, StepDown } from '../protocol/generated'

export type { ApiKey, CatalogueOffer, NewApiKey, StepDown }

/** Lower-case hex of a 16-byte id. */
export type Id = string

export type Delivery = 'queued' | 'sending' | 'accepted' | 'failed'

export type AnswerState = 'queued' | 'running' | 'done' | 'stopped' | 'interrupted' | 'failed'

export type RouteKind = 'direct' | 'relay'

export interface ConversationSummary {
  id: Id
  /** Title as written, else the first line of the first message, else ''. */
  title: string
  snippet: string
  /** Milliseconds since 1970 of the last message. */
  updatedAt: number
  pinned: boolean
  queued: number
  failed: boolean
  answering: boolean
  /** An answer has come that nobody has seen on this device. */
  unread: boolean
}

/** A conversation that was deleted and can still be taken back. */
export type DeletedConversation = Pick<ConversationSummary, 'id' | 'title' | 'snippet' | 'updatedAt'>

export interface ThreadMessage {
  id: Id
  role: 'user' | 'assistant' | 'system'
  parent: Id | null
  text: string
  createdAt: number
  /** Of the person's own messages on this device; null for messages from elsewhere. */
  delivery: Delivery | null
  /** Live siblings in order, this one included. */
  siblings: Id[]
  answer: AnswerView | null
}

export interface AnswerView {
  state: AnswerState
  /** True when this answer waits for an earlier one that failed or was interrupted. */
  blocked: boolean
  /** An error code of the closed set, for failed and interrupted. */
  code: string | null
  node: Id | null
  nodeName: string | null
  model: string | null
  engine: string | null
  route: RouteKind | null
  firstTokenMs: number | null
  durationMs: number | null
  tokens: number | null
  tokensPerSecond: number | null
  droppedMessages: number
  notices: string[]
}

export interface Thread {
  conversation: ComputedRef<ConversationSummary | null>
  /** The end of the branch to show, root first. A running answer's `text` grows as it streams. */
  messages: ComputedRef<ThreadMessage[]>
  /** The branch began earlier than `messages`. */
  hasEarlier: ComputedRef<boolean>
  /** Takes more of the branch into `messages`. */
  showEarlier: () => void
  /** True until the first read of IndexedDB is back. */
  loading: Readonly<Ref<boolean>>
  answering: ComputedRef<boolean>
}

/** The one line that says where an answer would come from, and the sheet behind it. */
export type StatusKind =
  | 'direct'
  | 'relay'
  | 'asleep' // server answers, node does not
  | 'offline' // nothing answers
  | 'server_down' // the node answers directly, the server does not
  | 'no_node' // nothing is paired
  | 'connecting'

export interface Status {
  kind: StatusKind
  /** Round trip of the chosen route in ms. */
  latencyMs: number | null
  serverMs: number | null
  nodeMs: number | null
  nodeId: Id | null
  nodeName: string | null
  nodeAwake: boolean
  nodeSince: number | null
  /** How the PC went, while it does not answer. */
  nodeDeparture: Departure
  /** The PC reaches its server by long polling: something there blocks WebSockets. */
  isCompatible: boolean
  /** What came of each way to the PC. */
  ways: WayView[]
  model: string | null
  engine: string | null
  /** Names of the models that the node can answer with. */
  models: string[]
  /** Models in memory, or on their way there. */
  loaded: ModelStatus[]
  /** What the node does with less than it might, newest last. */
  steps: StepDown[]
  /** Requests waiting on this device. */
  queued: number
  /** Changes not yet acknowledged by the server. */
  unsynced: number
  /** Milliseconds since 1970 when this device last matched the server. */
  inStepAt: number | null
  /** Milliseconds since 1970 of the next try, when offline. */
  nextTryAt: number | null
  /** An error code that keeps sync from going on, such as quota_exceeded or login_ended. */
  problem: string | null
}

/** A paired PC. */
export interface NodeView {
  id: Id
  name: string
  awake: boolean
  /** Milliseconds since 1970 since when it is awake or not. */
  since: number
  /** How it went, while it is not awake. */
  departure: Departure
  route: RouteKind | null
  latencyMs: number | null
  version: string | null
  engine: string | null
  model: string | null
  generating: number
  queue: number
  tokensPerSecond: number | null
  steps: StepDown[]
  /** This account may change what is on it, not only ask it. */
  isManaged: boolean
  /** It answers on the network at home; null where it has not said. */
  isOnLocalNetwork: boolean | null
  /** It stands in the place of a PC that is known here, with another key: nothing is sent to it. */
  isStrange: boolean
}

/** What a model on a PC is or does; `idle` is on the disk and not in memory. */
export type ModelState =
  'idle' | 'waiting' | 'loading' | 'ready' | 'stalled' | 'failed' | 'pulling' | 'partial' | 'arriving' | 'damaged'

/** A model on a PC: its file, and how it is in memory. Sizes in bytes, contexts in tokens; 0 is not known. */
export interface ModelView {
  file: string
  name: string
  state: ModelState
  isDefault: boolean
  size: number
  /** Of what is loaded or fetched, and of how much. */
  done: number
  total: number
  quantisation: string
  /** What the model was made for, and what it has in memory. */
  context: number
  loadedContext: number
  licence: string | null
  fits: string
  fittingContext: number
  engine: string | null
  tokensPerSecond: number | null
  code: string | null
  detail: string
  /** With which it can be fetched again; null where the catalogue does not have it. */
  offer: CatalogueOffer | null
}

/** The models of one PC, asked of itself. */
export interface LibraryView {
  /** null until the PC has answered. */
  models: ComputedRef<ModelView[] | null>
  offers: ComputedRef<CatalogueOffer[]>
  diskFree: ComputedRef<number>
  /** What would be worth looking for on this machine, in English. */
  proposal: ComputedRef<string>
  steps: ComputedRef<StepDown[]>
  /** Why the PC could not be asked; a code of the closed set. */
  problem: ComputedRef<string | null>
  pull(offer: CatalogueOffer, acceptLicence: boolean): Promise<void>
  stopPull(file: string): Promise<void>
  use(model: ModelView): Promise<void>
  remove(model: ModelView): Promise<void>
  load(model: ModelView): Promise<void>
  unload(model: ModelView): Promise<void>
  refresh(): Promise<void>
}

/** Keys that this account has made for other programs, on one PC. */
/** A browser where this account is logged in, or a PC that serves it. */
export interface DeviceView {
  id: Id
  name: string
  isPc: boolean
  /** Milliseconds since 1970. */
  seenAt: number
  /** From where it was seen last; null where that was not noted. */
  address: string | null
  /** It is this one. */
  isCurrent: boolean
}

export interface DevicesView {
  /** Oldest first; null until the server has told. */
  devices: ComputedRef<DeviceView[] | null>
  problem: ComputedRef<string | null>
  rename(device: DeviceView, name: string): Promise<void>
  /** Ends its login; what is on it stays there. */
  disconnect(device: DeviceView): Promise<void>
}

export interface InvitationView {
  id: string
  stage: 'open' | 'used' | 'expired'
  /** Milliseconds since 1970. */
  expiresAt: number
}

export interface InvitationsView {
  /** The newest first; null for everybody but the server's owner. */
  invitations: ComputedRef<InvitationView[] | null>
  /** Returns the code, which nobody is told again. */
  invite(): Promise<string>
  takeBack(invitation: InvitationView): Promise<void>
}

/** How far the pairing of a PC is; `over` is a code that ran out, was replaced or taken back. */
export type PairingStage = 'password' | 'waiting' | 'comparing' | 'paired' | 'over'

/** A PC that wants to join, as it has introduced itself. */
export interface PairingPc {
  name: string
  /** Six digits, as `123 456`: the PC shows the same if nobody stands in between. */
  check: string
  /** The account would manage it, not only ask it. */
  isManaged: boolean
}

export interface PairingView {
  stage: ComputedRef<PairingStage>
  code: ComputedRef<string>
  /** Where the PC finds the server. */
  address: ComputedRef<string>
  /** Milliseconds since 1970. */
  expiresAt: ComputedRef<number>
  pc: ComputedRef<PairingPc | null>
  /** Gets a code for the password. */
  begin(password: string): Promise<void>
  /** Says that the digits match: the PC is paired. */
  confirm(): Promise<void>
  refuse(): Promise<void>
  /** Begins anew once it is over. */
  again(): void
}

export interface KeysView {
  keys: ComputedRef<ApiKey[] | null>
  problem: ComputedRef<string | null>
  /** The PC's own address of the interface that the keys open, as programs on it use it. */
  address: ComputedRef<string | null>
  make(name: string): Promise<NewApiKey>
  revoke(key: ApiKey): Promise<void>
}

export interface SendOptions {
  conversation: Id | null
  text: string
  /** The message this one follows; null begins the conversation. Omitted: the end of the shown branch. */
  parent?: Id | null
  model?: string | null
  /** The longest answer, in tokens; omitted: as the node does. */
  longest?: number
  /** The PC to ask; omitted: as the person has settled it. */
  node?: Id
}

export interface Actions {
  /** Writes message and request in one transaction; resolves with the conversation once both are durable. */
  send(options: SendOptions): Promise<Id>
  /** A sibling of the answer, asked again; of that PC, if one is named. */
  regenerate(answer: Id, node?: Id): Promise<void>
  /** A sibling of the person's message with other text, and a new answer. */
  edit(message: Id, text: string): Promise<void>
  /** A message that still waits on this device: taken back; resolves with its text for the composer. */
  withdraw(message: Id): Promise<string>
  stop(answer: Id): Promise<void>
  chooseBranch(message: Id): Promise<void>
  rename(conversation: Id, title: string): Promise<void>
  pin(conversation: Id, pinned: boolean): Promise<void>
  /** Deletes; the returned function is Undo. */
  removeConversation(conversation: Id): Promise<() => Promise<void>>
  /** Takes a deleted conversation back. */
  restoreConversation(conversation: Id): Promise<void>
  /** Ends a conversation for ever, on every device. */
  purgeConversation(conversation: Id): Promise<void>
  removeMessage(message: Id): Promise<() => Promise<void>>
  /** Lets a PC answer on the network at home, or no more. */
  letOnLocalNetwork(node: Id, isOn: boolean): Promise<void>
  /** Unpairs a PC; everything that was written stays. */
  removeNode(node: Id): Promise<void>
  /** The person knows the PC that has come in another's place. */
  trustNode(node: Id): Promise<void>
  /** Tries the network now. */
  tryNow(): Promise<void>
}

export interface SessionView {
  /** A person has logged in on this device, now or before: local data may be opened. */
  known: ComputedRef<boolean>
  username: ComputedRef<string>
  /** The login ended on the server: local data stays readable, sync waits for the password. */
  ended: ComputedRef<boolean>
  /** Another window of the app is in the way of this one's data. */
  trouble: ComputedRef<'blocked' | 'superseded' | null>
  /** This browser can check who has signed its tokens. */
  canVerify: ComputedRef<boolean>
}

export interface RegisterForm {
  username: string
  password: string
  deviceName: string
  setupCode?: string
  invitation?: string
}

export interface LoginForm {
  username: string
  password: string
  deviceName: string
}

/** Thrown by session actions; `code` is of the closed set, or 'offline'. */
export interface ActionError extends Error {
  code: string
}

export interface SessionActions {
  register(form: RegisterForm): Promise<void>
  login(form: LoginForm): Promise<void>
  /** Replaces the password; every other browser is disconnected. */
  changePassword(now: string, next: string): Promise<void>
  /** Ends the login; with `wipe`, removes this device's data as well. */
  logout(options: { wipe: boolean }): Promise<void>
}

// The composables, one file each beside this one:
//   useConversations(): { conversations: ComputedRef<ConversationSummary[]>, loading: Readonly<Ref<boolean>> }
//   useThread(conversation: Ref<Id | null>): Thread
//   useStatus(): ComputedRef<Status>
//   useActions(): Actions
//   useNodes(): ComputedRef<NodeView[] | null>
//   useLibrary(node: Ref<Id | null>): LibraryView
//   useKeys(node: Ref<Id | null>): KeysView
//   usePairing(): PairingView   ends with its scope
//   useSession(): SessionView & SessionActions
//   useDraft(conversation: Ref<Id | null>): Draft   kept in IndexedDB
