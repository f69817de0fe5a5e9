// Generated from shared/ by `python -m shared.generate`. Do not edit.

/** A token and when it runs out, in seconds since 1970. */
export interface AccessToken {
  access_token: string
  expires_at: number
}

/** Answer to a start: the run's state. A repeat attaches to the same run. */
export interface AnswerStarted {
  answer: Uint8Array
  state: string
}

/** A key that opens the node's OpenAI-compatible API to a program. Times are in milliseconds since 1970. */
export interface ApiKey {
  key_id: string
  name: string
  prefix: string
  created_ms: number
  last_used_ms?: number | null
}

/** POST /v1/keys, PATCH /v1/keys/{id}: what people call the key. */
export interface ApiKeyName {
  name: string
}

/** GET /v1/keys: those that the account has made, oldest first. */
export interface ApiKeys {
  keys: ApiKey[]
}

/** What people see of a file, in its INFO field; its content is the blob that its BLOB field names (B6). */
export interface Attachment {
  name: string
  media_type: string
  size: number
  message?: Uint8Array | null
}

/** Answer to a piece of a file, and GET /api/v1/blobs/{sha256}/state: whole when `received` is `size`, in bytes. */
export interface BlobState {
  size: number
  received: number
}

/** GET /api/v1/sync/bootstrap?after=&limit=, and /api/v1/sync/scopes/{scope}: a page of the account's cells. */
export interface Bootstrapped {
  epoch: number
  head: number
  changes: PulledChange[]
  after: string | null
  server_ms: number
  segments?: Uint8Array[]
}

/** One address of a node. */
export interface Candidate {
  scheme: 'http' | 'https'
  host: string
  port: number
  kind: 'lan' | 'loopback' | 'name' | 'virtual' | 'vpn'
}

/** A model that the node can fetch by its `id`. With `must_accept`, only with `accept_licence`. */
export interface CatalogueOffer {
  id: string
  name: string
  file: string
  size: number
  download_bytes: number
  parameters: number
  quantisation: string
  context: number
  is_chat: boolean
  licence: string
  licence_url: string
  must_accept: boolean
  for_whom: string
}

/** One write of one field of one entity. Its `dseq` is its place in the device's log. */
export type Change = [clk: Uint8Array, etype: number, eid: Uint8Array, field: number, scope: Uint8Array, kid: number, value: Uint8Array]

/** A row of GET /api/v1/devices. Times are in milliseconds since 1970. */
export interface Device {
  device_id: string
  name: string
  kind: string
  created_ms: number
  last_seen_ms: number
  current: boolean
  login_ms?: number
  login_address?: string | null
  address?: string | null
}

/** A public key as RFC 7517 has it: Ed25519 with `x`, or P-256 with `x` and `y`, in base64url. */
export interface DeviceKey {
  kty: 'EC' | 'OKP'
  crv: 'Ed25519' | 'P-256'
  x: string
  y?: string | null
}

/** PATCH /api/v1/devices/{id}. */
export interface DeviceRename {
  name: string
}

/** GET /api/v1/devices. */
export interface Devices {
  devices: Device[]
}

/** The account's devices are others than before, or have other names. `login_ms` is their newest login. */
export interface DevicesNews {
  login_ms: number
}

/** GET /api/v1/sync/digest: of the account's `count` cells at `head`, the XOR of their hashes (rule L20). */
export interface Digest {
  epoch: number
  head: number
  count: number
  digest: Uint8Array
  server_ms: number
}

/** The run's last event: its final state and the changes the node wrote, to be stored like pulled ones. */
export interface Ended {
  kind: 'ended'
  state: State
  changes: Change[]
}

/** One account that a node serves, as which device, at which level, and the sync token for it. */
export interface Grant {
  account_id: string
  device_id: string
  level: 'manage' | 'use'
  access_token: string
  expires_at: number
}

/** Write-once place of a message in its conversation's tree. `parent` is None at the root. */
export interface Header {
  role: 'assistant' | 'system' | 'user'
  parent?: Uint8Array | null
}

/** First event of GET /api/v1/events. `address` is where the server sees the device at. */
export interface Hello {
  epoch: number
  head: number
  server_ms: number
  address?: string
  login_ms?: number
}

/** A push counts only while this lease is nobody else's (rule Q10). */
export interface IfLease {
  answer: Uint8Array
  token: Uint8Array
}

/** One that was made; its code is told nobody again. Times are in milliseconds since 1970. */
export interface Invitation {
  invitation_id: string
  stage: 'expired' | 'open' | 'used'
  created_ms: number
  expires_ms: number
}

/** GET /api/v1/invitations: the newest first; DELETE /api/v1/invitations/{id} takes one back. */
export interface Invitations {
  invitations: Invitation[]
}

/** GET /.well-known/jwks.json: the server's signing keys and its name in `iss`. */
export interface KeySet {
  issuer: string
  keys: PublicKey[]
  root: PublicKey
  signed: string
}

/** The right to run an answer until `expires_ms`, once the holder has read the log up to `head` (rule Q9). */
export interface Lease {
  answer: Uint8Array
  token: Uint8Array
  expires_ms: number
  head: number
  server_ms: number
}

/** POST /api/v1/leases, of a node's device. Renewing and releasing need the `token` that claiming gave. */
export interface LeaseRequest {
  answer: Uint8Array
  action: 'claim' | 'release' | 'renew'
  token?: Uint8Array | null
}

/** GET /v1/library: the node's models, what else it can fetch by name, and what is being fetched. */
export interface Library {
  models: LibraryModel[]
  catalogue: CatalogueOffer[]
  proposal: string
  disk_free: number
  pulls?: PullState[]
}

/** A model file of a node. `size` and `done_bytes` are in bytes, `context` in tokens. */
export interface LibraryModel {
  file: string
  name: string
  size: number
  state: string
  is_default?: boolean
  done_bytes?: number
  architecture?: string
  parameters?: number
  quantisation?: string
  context?: number
  has_chat_template?: boolean
  licence?: string | null
  source?: string | null
  sha256?: string | null
  fits?: string
  fitting_context?: number
  detail?: string
}

/** POST /v1/local-network: whether the node may answer on the network at home, for who manages it. */
export interface LocalNetworkChoice {
  is_on: boolean
}

/** The log moved from `prev_head` to `head`. Small news carries its changes; else pull. */
export interface LogNews {
  epoch: number
  prev_head: number
  head: number
  changes?: PulledChange[] | null
}

/** POST /api/v1/auth/login. `device_id` names the device this browser was, to stay that device. */
export interface Login {
  username: string
  password: string
  device_name: string
  device_id?: string | null
  device_key?: DeviceKey | null
}

/** POST /api/v1/nodes/{id}/manager: who manages the node from now on, and the caller's password. */
export interface ManagerChange {
  account_id: string
  password: string
}

/** POST /v1/library/use, remove, load and unload: a model by file name or name. */
export interface ModelChoice {
  model: string
}

/** A model that is loaded, is being loaded, or could not be. */
export interface ModelStatus {
  name: string
  state: string
  code?: string | null
  engine?: string | null
  done?: number
  total?: number
  context?: number
  slots?: number
  generating?: number
  tokens_per_second?: number | null
  architecture?: string
  quantisation?: string
  instructions?: string
  threads?: number
  detail?: string
}

/** Answer to POST /v1/keys. The secret is shown this once. */
export interface NewApiKey {
  key: ApiKey
  secret: string
}

/** POST /api/v1/invitations: the code, told this once. The link is `<address>/welcome?invitation=<code>`. */
export interface NewInvitation {
  invitation: Invitation
  code: string
}

/** A row of GET /api/v1/nodes. `since_ms`: when it came awake, or was last seen if it is not. */
export interface Node {
  node_id: string
  name: string
  awake: boolean
  since_ms: number
  status: NodeStatus | null
  level: 'manage' | 'use'
  transport?: 'polling' | 'websocket' | null
  same_nat?: boolean
  departure?: 'lost' | 'silent' | 'stopped' | null
}

/** POST /api/v1/auth/node: a JWT that the node signed with its own key, valid for a minute. */
export interface NodeLogin {
  assertion: string
  forked?: string[]
}

/** GET /api/v1/nodes/{id}/people: all of them for who manages the node; for others themselves and who does. */
export interface NodePeople {
  people: NodePerson[]
}

/** An account that a node serves. `is_you` is the caller's; others' ids are for who manages the node alone. */
export interface NodePerson {
  username: string
  level: 'manage' | 'use'
  is_you: boolean
  account_id?: string | null
}

/** Answer to a node's login. `key_set` and `revocations` are signed (rules K7, K9). */
export interface NodeSession {
  grants: Grant[]
  server_ms: number
  key_set: string
  revocations: string
}

/** What a node says of itself over the tunnel, and what `GET /v1/status` shows. */
export interface NodeStatus {
  name: string
  engine_state: string
  engine?: string | null
  model?: string | null
  models?: string[]
  candidates?: Candidate[]
  queue?: number
  code?: string | null
  version?: string
  generating?: number
  tokens_per_second?: number | null
  loaded?: ModelStatus[]
  steps?: StepDown[]
  local_network?: boolean
}

/** GET /api/v1/nodes, and the `presence` event. */
export interface Nodes {
  nodes: Node[]
}

/** A step down that people should know of, as a code from `shared.errors`. */
export interface Notice {
  kind: 'notice'
  code: string
}

/** GET /api/v1/pairing/{id}. From `pending` on it names the PC, the six digits, and what the account would get. */
export interface Pairing {
  pairing_id: string
  stage: 'paired' | 'pending' | 'refused' | 'waiting'
  expires_ms: number
  server_ms: number
  node_id?: string | null
  name?: string | null
  check?: string | null
  level?: 'manage' | 'use' | null
}

/** Answer to an offer, the same for the same one. */
export interface PairingChallenge {
  nonce: Uint8Array
  expires_ms: number
  server_ms: number
}

/** Answer to that. The code is told this once; `expires_ms` is in milliseconds since 1970, of the server. */
export interface PairingCode {
  pairing_id: string
  code: string
  expires_ms: number
  server_ms: number
}

/** POST /api/v1/pairing/{id}/confirm: the digits that the person has compared. */
export interface PairingConfirmation {
  check: string
}

/** POST /api/v1/pairing/offer: the code, who the node is, and a commitment to its nonce. */
export interface PairingOffer {
  code: string
  public_key: Uint8Array
  name: string
  commitment: Uint8Array
  sealing_key?: Uint8Array | null
}

/** POST /api/v1/pairing/proof: the nonce, and the transcript signed. Repeated, it asks how things stand. */
export interface PairingProof {
  code: string
  nonce: Uint8Array
  signature: Uint8Array
}

/** POST /api/v1/pairing: the password, asked for anew. */
export interface PairingRequest {
  password: string
}

/** Answer to a proof. `username` says with whose account, once it is paired. */
export interface PairingState {
  stage: 'paired' | 'pending' | 'refused' | 'waiting'
  username?: string | null
}

/** POST /api/v1/auth/password: other devices are disconnected; what is on them stays there. */
export interface PasswordChange {
  password: string
  new_password: string
}

/** One message before the answer, root first. */
export interface PathMessage {
  role: 'assistant' | 'system' | 'user'
  text: string
}

/** RFC 9457 problem details, with our `code`. */
export interface Problem {
  type: string
  title: string
  status: number
  code: string
  detail: string
  instance?: string | null
  last_dseq?: number | null
  acked_dseq?: number | null
  epoch?: number | null
  server_ms?: number | null
  received?: number | null
}

/** An Ed25519 public key as a JWK (RFC 8037); `kid` is its RFC 7638 thumbprint. */
export interface PublicKey {
  x: string
  kid: string
  kty?: string
  crv?: string
  use?: string
  alg?: string
}

/** POST /v1/library/pull: fetch a model of the catalogue, or go on; a repeat attaches to the same fetching. */
export interface PullModel {
  id: string
  accept_licence?: boolean
}

/** How fetching a file goes, in bytes, and the `progress` event. `state`: running, done, stopped or failed. */
export interface PullState {
  file: string
  state: string
  done: number
  total: number
  code?: string | null
  detail?: string | null
}

/** GET /api/v1/sync/pull?since=&limit=&epoch=. When `more` is false, the cursor becomes `head`. */
export interface Pulled {
  epoch: number
  head: number
  changes: PulledChange[]
  more: boolean
  server_ms: number
}

/** A change as the server gives it out, with the account's sequence number. */
export type PulledChange = [clk: Uint8Array, etype: number, eid: Uint8Array, field: number, scope: Uint8Array, kid: number, value: Uint8Array, seq: number]

/** POST /api/v1/sync/push: changes `first_dseq`… of the token's device. */
export interface Push {
  epoch: number
  first_dseq: number
  prev_hash: Uint8Array
  changes: Change[]
  if_lease?: IfLease | null
}

/** Answer to a push: everything up to `acked_dseq` is committed. */
export interface Pushed {
  acked_dseq: number
  head: number
  server_ms: number
  rejected?: Rejected[]
  purged?: Uint8Array[]
  prev_head?: number | null
}

/** POST /api/v1/auth/register. The first account needs the setup code, later ones an invitation. */
export interface Registration {
  username: string
  password: string
  device_name: string
  setup_code?: string | null
  invitation?: string | null
  device_key?: DeviceKey | null
}

/** The first change that was refused, and why; nothing after it was taken. */
export interface Rejected {
  dseq: number
  code: string
}

/** POST /v1/renewal → `AccessToken`: the server's last token for this node, and proof of the key that it names. */
export interface Renewal {
  token: string
  key: DeviceKey
  challenge: Uint8Array
  signature: Uint8Array
}

/** POST /v1/renewal/challenge: what the browser signs next, within a minute and once. */
export interface RenewalChallenge {
  challenge: Uint8Array
}

/** Write-once request for an answer, in the answer's REQUEST field. */
export interface Request {
  node: Uint8Array | null
  model?: string | null
  sampling?: Sampling
}

/** How the engine picks tokens; None means the model's default. */
export interface Sampling {
  temperature?: number | null
  top_p?: number | null
  min_p?: number | null
  top_k?: number | null
  max_tokens?: number | null
  seed?: number | null
  repeat_penalty?: number | null
  presence_penalty?: number | null
  frequency_penalty?: number | null
}

/** Inside POST /v1/sealed: one call of the node's API (rule H1). `path` has the query too. */
export interface SealedCall {
  method: 'DELETE' | 'GET' | 'PATCH' | 'POST'
  path: string
  reply_secret: Uint8Array
  node_epoch: number
  token?: string
  body?: Uint8Array
  media_type?: 'application/json' | 'application/msgpack'
  last_event?: string
}

/** The first chunk of a reply: all of it, or the head of an event stream whose bytes follow (rule H5). */
export interface SealedReply {
  status: number
  content_type?: string
  body?: Uint8Array
}

/** GET /v1/keys of the remote application: the key to seal with, as the node's own key has signed it (rule H3). */
export interface SealingKeys {
  node_key: string
  signed: string
  epoch: number
}

/** Answer to register, login and refresh. `expires_at` is in seconds since 1970; the owner may invite others. */
export interface Session {
  access_token: string
  device_id: string
  account_id: string
  username: string
  expires_at: number
  server_ms: number
  is_owner?: boolean
}

/** POST /v1/answers: the request with all it needs, so that it may overtake the log. */
export interface StartAnswer {
  answer: Uint8Array
  conversation: Uint8Array
  request: Request
  path: PathMessage[]
}

/** The engine has begun; `model` is the one that answers, `engine` runs it. */
export interface Started {
  kind: 'started'
  model: string
  engine: string
  dropped_messages?: number
}

/** What became of a request. Only the node that runs it writes this. */
export interface State {
  state: 'done' | 'failed' | 'interrupted' | 'queued' | 'running' | 'stopped'
  code?: string | null
  model?: string | null
  engine?: string | null
  prompt_tokens?: number | null
  completion_tokens?: number | null
  first_token_ms?: number | null
  duration_ms?: number | null
  dropped_messages?: number | null
}

/** Why a model runs otherwise than it might: by another engine, or with less. */
export interface StepDown {
  at_ms: number
  model: string
  engine: string
  what: string
  to: string
  code: string
  detail?: string
}

/** The next piece of the answer. Concatenated, all pieces are the answer's body, byte for byte. */
export interface Text {
  kind: 'text'
  text: string
}

/** POST /api/v1/auth/token: a token for `sync` or `node:<node id>`. */
export interface TokenRequest {
  audience: string
}

/** GET /api/v1/usage: the account's space, in bytes; files count with their whole size from their first piece. */
export interface Usage {
  bytes_used: number
  quota_bytes: number
}

export const EntityType = {
  SETTING: 1,
  CONVERSATION: 2,
  MESSAGE: 3,
  ATTACHMENT: 4,
} as const

export const SettingField = {
  MAIN_NODE: 1,
  ASLEEP_POLICY: 2,
} as const

export const ConversationField = {
  TITLE: 1,
  ACTIVE_LEAF: 2,
  DELETED: 3,
  PINNED: 4,
  ARCHIVED: 5,
  PURGED: 6,
} as const

export const MessageField = {
  HEADER: 1,
  BODY: 2,
  REQUEST: 3,
  STATE: 4,
  STOP: 5,
  DELETED: 6,
} as const

export const AttachmentField = {
  INFO: 1,
  BLOB: 2,
  DELETED: 3,
} as const

export type RunEvent = Ended | Notice | Started | Text

export const ERROR_CODES = [
  'bad_request',
  'body_too_large',
  'unsupported_media_type',
  'not_found',
  'method_not_allowed',
  'forbidden_origin',
  'too_many_tries',
  'too_busy',
  'setup_code_wrong',
  'invitation_wrong',
  'password_too_short',
  'password_too_long',
  'password_too_common',
  'username_invalid',
  'username_taken',
  'login_wrong',
  'login_ended',
  'token_missing',
  'token_invalid',
  'token_expired',
  'device_revoked',
  'node_unknown',
  'manager_only',
  'owner_only',
  'transport_gone',
  'cannot_open',
  'stale_epoch',
  'pairing_code_wrong',
  'pairing_code_expired',
  'pairing_code_spent',
  'pairing_code_used',
  'pairing_proof_wrong',
  'pairing_check_wrong',
  'node_unreachable',
  'sequence_gap',
  'device_forked',
  'clock_ahead',
  'epoch_changed',
  'history_trimmed',
  'quota_exceeded',
  'lease_lost',
  'blob_offset',
  'blob_damaged',
  'answer_unknown',
  'events_gone',
  'model_missing',
  'model_damaged',
  'unsupported',
  'out_of_memory',
  'model_unknown',
  'model_busy',
  'model_fixed',
  'local_network_fixed',
  'licence_required',
  'download_failed',
  'disk_full',
  'context_too_long',
  'engine_failed',
  'engine_unavailable',
  'engine_loading',
  'engine_busy',
  'node_restarted',
  'parent_unfinished',
  'database_unavailable',
  'internal',
] as const
export type ErrorCode = (typeof ERROR_CODES)[number]

export const ANSWER_STATES = [
  'done',
  'failed',
  'interrupted',
  'queued',
  'running',
  'stopped',
] as const
export type AnswerStateName = (typeof ANSWER_STATES)[number]

export const ASLEEP_POLICIES = [
  'ask',
  'another',
  'wait',
] as const
export type AsleepPolicy = (typeof ASLEEP_POLICIES)[number]

export const limits = {
  ACCOUNT_ID_BYTES: 16,
  DEVICE_ID_BYTES: 8,
  NODE_ID_BYTES: 16,
  ENTITY_ID_BYTES: 16,
  CLOCK_BYTES: 16,
  HASH_BYTES: 32,
  MAX_SEQUENCE: 9007199254740991,
  MAX_CLOCK_MS: 281474976710655,
  MAX_CLOCK_COUNTER: 65535,
  MAX_CLOCK_AHEAD_MS: 60000,
  MAX_PUSH_CHANGES: 2000,
  MAX_VALUE_BYTES: 524288,
  MAX_PUSH_BYTES: 1048576,
  DEFAULT_PULL_CHANGES: 500,
  MAX_PULL_CHANGES: 1000,
  DEFAULT_BOOTSTRAP_CELLS: 4000,
  MAX_BOOTSTRAP_CELLS: 10000,
  SEGMENT_BYTES: 49152,
  MAX_PULL_BYTES: 4194304,
  MAX_INLINE_NEWS_BYTES: 16384,
  DEFAULT_QUOTA_BYTES: 4294967296,
  TOMBSTONE_KEPT_S: 7776000,
  LEASE_S: 60,
  LEASE_TOKEN_BYTES: 16,
  MAX_BLOB_BYTES: 268435456,
  MAX_BLOB_PIECE_BYTES: 4194304,
  BLOB_ORPHAN_KEPT_S: 604800,
  BLOB_RESTORED_KEPT_S: 7776000,
  MAX_CANDIDATES: 12,
  MIN_USERNAME_CHARACTERS: 1,
  MAX_USERNAME_CHARACTERS: 64,
  MIN_PASSWORD_CHARACTERS: 8,
  MAX_PASSWORD_CHARACTERS: 1024,
  MAX_ADDRESS_CHARACTERS: 64,
  MAX_DEVICE_NAME_CHARACTERS: 80,
  MAX_KEY_NAME_CHARACTERS: 80,
  PAIRING_CODE_GROUPS: 4,
  PAIRING_CODE_NAME_CHARACTERS: 3,
  PAIRING_TRIES: 5,
  PAIRING_LIFETIME_S: 600,
  PAIRING_NONCE_BYTES: 32,
  MAX_PAIRING_CODE_CHARACTERS: 64,
  MAX_TOKEN_BYTES: 4096,
  TOKEN_LIFETIME_S: 86400,
  TOKEN_LEEWAY_S: 60,
  NODE_ASSERTION_LIFETIME_S: 60,
  KEY_SET_LIFETIME_S: 2592000,
  MAX_KEY_SET_BYTES: 16384,
  CHALLENGE_BYTES: 40,
  CHALLENGE_S: 60,
  RENEWABLE_S: 1209600,
  MAX_REVOCATIONS_BYTES: 1048576,
  REFRESH_IDLE_S: 2592000,
  REFRESH_ABSOLUTE_S: 7776000,
  REFRESH_RETRY_S: 10,
  MAX_JSON_BODY_BYTES: 65536,
  MAX_ANSWER_BODY_BYTES: 4194304,
  SECRET_BYTES: 32,
  SEALING_KEY_BYTES: 32,
  SEALED_BLOCK_BYTES: 64,
  MAX_SEALED_PATH_CHARACTERS: 2048,
  MAX_SEALED_BYTES: 4210688,
  MAX_SEALING_KEY_BYTES: 1024,
  SEALING_KEY_FRESH_S: 86400,
  SEALING_KEY_KEPT_S: 172800,
  CALL_EPOCH_S: 600,
  MAX_CALLS_AN_EPOCH: 50000,
  MAX_OPEN_CALLS: 256,
  SEALED_BODY_WITHIN_S: 60,
  MAX_HEAD_BYTES: 65536,
  MAX_HEADERS: 100,
  HEAD_WITHIN_S: 20,
  BODY_WITHIN_S: 20,
  BODY_BYTES_EACH: 4096,
  REPLAY_BYTES: 4194304,
  REPLAY_KEPT_S: 1800,
  TEXT_EVENT_MS: 8,
  EVENT_STREAM_PING_S: 10,
  NODE_GONE_AFTER_S: 60,
  MAX_MESSAGE_CHARACTERS: 100000,
} as const
