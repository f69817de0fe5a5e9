/** One IndexedDB database for each account on this device. The screen renders from it and from nothing else. */
import Dexie, { type DBCore, type EntityTable, type Table } from 'dexie'
import type { Candidate, Node, Push } from '../protocol/generated'
import { ProblemError } from '../protocol/errors'
import { Snapshots } from './conversations'
import type { OwnKey } from './deviceKey'
import { OutlineWriter } from './outlines'
import { joinRows } from './outboxRows'
import { Previews } from './previews'
import type { SegmentKey } from './segments'

/** One entity with its cells, packed. Ids are lower-case hex. */
export interface EntityRecord {
  etype: number
  eid: string
  scope: string
  /** The scope's revision in which it was written last. */
  revision: number
  /** MessagePack of the array of its cells. */
  cells: Uint8Array
}

/** Entities of a conversation as they came together: see `segments.ts`. */
export interface SegmentRecord {
  scope: string
  /** The scope's revision in which it came. */
  revision: number
  /** The least and the greatest key of its entities. */
  first: string
  last: string
  packed: Uint8Array
}

/**
 * Changes that the server has not acknowledged, as one transaction wrote them: a row of its own for each would take
 * as long as all else. Rows follow each other without a gap.
 */
export interface OutboxRecord {
  /** The first change's; the others have those after it. */
  dseq: number
  /** The conversations, to find what waits in them. */
  scopes: string[]
  /** The answers whose requests are among the changes. */
  requests: string[]
  /** What a server lost that was restored from a backup: its clocks stay (L21). */
  isOffer?: true
  /** MessagePack of the array of changes. */
  changes: Uint8Array
}

/** What the list of conversations shows: worked out from the cells in the transaction that writes them. */
export interface SummaryRecord {
  id: string
  /** Counts the writes to this conversation's entities on this device. */
  revision: number
  title: string
  snippet: string
  updatedAt: number
  pinned: boolean
  deleted: boolean
  /** It is over for good (L18). */
  purged?: boolean
  /** It has something to show. */
  listed: boolean
  failed: boolean
  /** Milliseconds since 1970 at which the shown branch's last answer was asked for, once it is ready; else null. */
  answeredAt: number | null
}

/** What a person has seen of a conversation on this device. */
export interface SeenRecord {
  conversation: string
  /** `answeredAt` of the newest answer that was on the screen. */
  answeredAt: number
}

/** A long conversation as it was at one revision, in one piece: see `outlines.ts`. */
export interface OutlineRecord {
  scope: string
  revision: number
  packed: Uint8Array
}

/** A request without a final state. */
export interface PendingRecord {
  id: string
  conversation: string
  /** The device that asked. */
  device: string
  node: string | null
  state: 'queued' | 'running'
  /** A person wants no answer any more: stopped, or deleted (Q6). */
  stop: boolean
}

/** How an answer came to this device; known here alone. */
export interface ArrivalRecord {
  id: string
  conversation: string
  route: 'direct' | 'relay'
}

export interface DraftRecord {
  /** '' is the draft of a conversation that does not exist yet. */
  conversation: string
  text: string
}

/** Who this device is to the server. Kept apart from `OwnLog`, which every write changes. */
export interface DeviceIdentity {
  id: string
  /** The server holds another history of this device: the next login asks for a new one. */
  isForked: boolean
}

/** This device's own log: its clock and its place in the chain (rules L5, L15). */
export interface OwnLog {
  /** The greatest clock made or seen. */
  clock: Uint8Array
  /** The greatest clock that others know of: pulled, or pushed and acknowledged. */
  sharedClock: Uint8Array
  nextDseq: number
  ackedDseq: number
  /** The chain's value at `ackedDseq`. */
  ackedHash: Uint8Array
  /** Up to here changes were stamped again, and may be greater than what this device has in their cells. */
  stampedUntil?: number
}

export type Reread = 'history' | 'gap'

/** How far this device has read the account's log. `offsetMs` is the server's time less this device's. */
export interface SyncState {
  epoch: number | null
  cursor: number
  /** While the account's state is being read for the first time: where the next page begins (L16). */
  bootstrap?: string | null
  /** Why everything is read anew: the server has another history (L21), or something is missing here (L19, L20). */
  reread?: Reread | null
  offsetMs: number
  inStepAt: number | null
}

export interface NodeToken {
  token: string
  /** Milliseconds since 1970. */
  expiresAt: number
  /** The last one that the server gave, from which a node can make another (rule K11). */
  fromServer?: string
  /** The key in base64url of the node that has made it itself, which the node's id certifies. */
  nodeKey?: string
}

/** Somebody has logged in on another device. */
export interface LoginNotice {
  deviceId: string
  name: string
  /** Milliseconds since 1970, by the server's clock. */
  at: number
  address: string | null
}

/** What this device knows of logins: those since `fromMs`, of which those in `seen` were judged, by device. */
export interface LoginBook {
  fromMs: number
  seen: Record<string, number>
  open: LoginNotice[]
}

/** Single values, by key. */
/** A node, with the addresses that it published last: it may answer there while the server knows nothing of it. */
export interface KnownNode extends Node {
  candidates: readonly Candidate[]
}

export interface MetaValues {
  device: DeviceIdentity
  ownLog: OwnLog
  sync: SyncState
  nodes: KnownNode[]
  summaryVersion: number
  nodeTokens: Record<string, NodeToken>
  /** Names of the nodes that this device trusts, by id: `nodeTrust.ts`. */
  trustedNodes: Record<string, string>
  /** The key of this browser's last login; null where it could make none. */
  deviceKey: OwnKey | null
  /** Milliseconds since 1970 from which on an answer can be unread here: what came before was read elsewhere. */
  unreadFrom: number
  logins: LoginBook
  /** When this device's cells were last compared with the server's, ms since 1970 (L20). */
  comparedAt: number
  /** How many segments were given up: whoever goes through all entities meanwhile meets some twice, or not at all. */
  tidyings: number
}

interface MetaRecord {
  key: string
  value: unknown
}

/**
 * What another window of the app can do to this one's data: an older one that does not let go keeps it `blocked`, a
 * newer one has `superseded` it.
 */
export type DatabaseTrouble = 'blocked' | 'superseded'

/** Time, randomness and storage, given from outside so that tests can hold them. */
export interface Environment {
  indexedDB: IDBFactory
  now: () => number
  randomBytes: (size: number) => Uint8Array
  /** Told when another window gets in the way, and null when it does no more. */
  onTrouble?: (trouble: DatabaseTrouble | null) => void
}

export const browserEnvironment: Environment = {
  indexedDB: globalThis.indexedDB,
  now: () => Date.now(),
  randomBytes: (size) => crypto.getRandomValues(new Uint8Array(size)),
}

/** The data is of a newer version of the app than this window. */
export class SupersededError extends Error {}

const VERSION = 5
/** Dexie counts in tenths of IndexedDB's versions. */
const VERSION_FACTOR = 10

export class AccountDatabase extends Dexie {
  declare readonly entity: Table<EntityRecord, [number, string]>
  declare readonly segment: Table<SegmentRecord, SegmentKey>
  declare readonly outbox: EntityTable<OutboxRecord, 'dseq'>
  declare readonly summary: EntityTable<SummaryRecord, 'id'>
  declare readonly pending: EntityTable<PendingRecord, 'id'>
  declare readonly arrival: EntityTable<ArrivalRecord, 'id'>
  declare readonly draft: EntityTable<DraftRecord, 'conversation'>
  declare readonly seen: EntityTable<SeenRecord, 'conversation'>
  declare readonly outline: EntityTable<OutlineRecord, 'scope'>
  declare private readonly meta: EntityTable<MetaRecord, 'key'>
  readonly snapshots = new Snapshots()
  readonly previews = new Previews()
  readonly outlines = new OutlineWriter(this)
  /** What this tab has committed last, if all that waits: pushed without reading it again. Only a guess by then. */
  fresh: { push: Push; deviceId: string; at: number } | null = null

  constructor(
    readonly accountId: string,
    readonly environment: Environment = browserEnvironment,
  ) {
    super(`domovoi-${accountId}`, { indexedDB: environment.indexedDB, cache: 'disabled' })
    this.version(2)
      .stores({
        entity: '[etype+eid], [scope+revision]',
        outbox: 'dseq, scope, request',
        summary: 'id',
        pending: 'id, conversation',
        arrival: 'id, conversation',
        draft: 'conversation',
        meta: 'key',
      })
      .upgrade((transaction) => transaction.table('entity').toCollection().modify({ revision: 1 }))
    this.version(3).stores({ seen: 'conversation', outline: 'scope' })
    this.version(4)
      .stores({ outbox: 'dseq, *scopes, *requests' })
      .upgrade((transaction) => joinRows(transaction.table<unknown, number>('outbox')))
    this.version(VERSION).stores({ segment: '[scope+revision+first+last]' })
    this.use({ stack: 'dbcore', name: 'durability', create: withDurability })
    this.on('blocked', () => environment.onTrouble?.('blocked'))
    // Another tab has a newer version of the app: give way, so that its upgrade is not blocked.
    this.on('versionchange', ({ newVersion }) => {
      this.close()
      // Without a version it is a wipe.
      if (newVersion !== null) environment.onTrouble?.('superseded')
    })
  }

  /** Opens the database as this version of the app knows it: Dexie would open a newer one as well. */
  async openCurrent(): Promise<void> {
    await this.open()
    if (this.backendDB().version > VERSION * VERSION_FACTOR) {
      this.close()
      this.environment.onTrouble?.('superseded')
      throw new SupersededError('A newer version of Domovoi has been here. Reload.')
    }
    this.environment.onTrouble?.(null)
  }

  async getMeta<Key extends keyof MetaValues>(key: Key): Promise<MetaValues[Key] | undefined> {
    return (await this.meta.get(key))?.value as MetaValues[Key] | undefined
  }

  /** Returns several at once: one question takes IndexedDB as long as all of them. */
  async getMetas<Keys extends readonly (keyof MetaValues)[]>(
    ...keys: Keys
  ): Promise<{ [Place in keyof Keys]: MetaValues[Keys[Place]] | undefined }> {
    const records = await this.meta.bulkGet([...keys])
    return records.map((record) => record?.value) as { [Place in keyof Keys]: MetaValues[Keys[Place]] | undefined }
  }

  async putMeta<Key extends keyof MetaValues>(key: Key, value: MetaValues[Key]): Promise<void> {
    await this.meta.put({ key, value })
  }

  /**
   * Runs `work` in one transaction over the log and all that is worked out from it. Rejects with ProblemError
   * `device_full` where there is no room for it; nothing has changed then.
   */
  async logTransaction<Result>(work: () => Promise<Result>): Promise<Result> {
    const tables = [this.entity, this.segment, this.outline, this.outbox, this.summary, this.pending, this.meta]
    // An async function of its own, because Dexie keeps the transaction over native awaits only inside one.
    return this.transaction('rw', tables, async () => work()).catch(tellFull)
  }

  /** The same without this device's own changes: for what can be pulled again. */
  async pullTransaction<Result>(work: () => Promise<Result>): Promise<Result> {
    const tables = [this.entity, this.segment, this.outline, this.summary, this.pending, this.meta]
    return this.transaction('rw', tables, async () => work()).catch(tellFull)
  }

  async metaTransaction<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.transaction('rw', this.meta, async () => work())
  }

  /** Runs `work` in one transaction that reads what is pushed. */
  async outboxReading<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.transaction('r', [this.outbox, this.meta], async () => work())
  }

  /** Runs `work` in one transaction that reads what a conversation shows. */
  async threadReading<Result>(work: () => Promise<Result>): Promise<Result> {
    const tables = [this.entity, this.segment, this.outline, this.summary, this.outbox, this.arrival, this.meta]
    return this.transaction('r', tables, async () => work())
  }
}

/** Throws `device_full` for an error that says so, by whichever of the two ways IndexedDB has, and others as they are. */
export function tellFull(error: unknown): never {
  const causes = [error, (error as { inner?: unknown }).inner]
  const isFull = causes.some((cause) => (cause as Error | undefined)?.name === 'QuotaExceededError')
  throw isFull ? new ProblemError('device_full') : error
}

/** What a person wrote exists nowhere else yet. */
const OF_THE_PERSON = ['outbox', 'draft']

/**
 * What a person wrote is on the disk when its transaction is complete, power cut or not. What came from the server
 * need not be: rows and cursor are lost together, and pulled again.
 */
function withDurability(core: DBCore): DBCore {
  return {
    ...core,
    transaction: (stores, mode) =>
      core.transaction(stores, mode, {
        durability: stores.some((store) => OF_THE_PERSON.includes(store)) ? 'strict' : 'relaxed',
      }),
  }
}
