/** The page of the peers harness (see its README): the app's own modules, with no screen. */
import { liveQuery } from 'dexie'
import { AccountRegistry } from '@/local/accounts'
import { browserEnvironment, type AccountDatabase } from '@/local/database'
import { needsBootstrap, readSync, write, type Draft } from '@/local/log'
import { readSummaries, readThread } from '@/local/reads'
import { EntityType, MessageField } from '@/protocol/generated'
import { uuid7 } from '@/protocol/identifiers'
import { toHex } from '@/protocol/bytes'
import { encodeText, encodeValue } from '@/protocol/values'
import { watchThread } from '@/local/watchThread'
import { createDomovoi, type Domovoi } from '@/stores/domovoi'
import { openAccount, Session } from '@/sync/session'
import { Tabs } from '@/sync/tabs'

/** A message of the workload. All of it travels as the message's text, because peers carry all of it too. */
interface Message {
  id: string
  c: string
  a: string
  x: string
}

interface Settings {
  offline?: boolean
  live?: string
  convs: number
}

const LOGIN = { username: 'bench', password: 'three plain words', device_name: 'Bench' }
/** Messages that one transaction writes when there is a whole list of them. */
const CHUNK = 500

let domovoi: Domovoi | null = null
let account: AccountDatabase | null = null
const listeners: ((message: Message) => void)[] = []

const fetcher: typeof fetch = (input, init) => fetch(input, init)

/**
 * Logs in, if this profile has not, and starts nothing. Checking a password is slow on purpose and the peers have
 * none, so the clock starts after it: with the account known here, and the access token still to be fetched.
 */
async function logIn(): Promise<void> {
  const registry = new AccountRegistry(localStorage)
  if (registry.current() !== null) return
  const tabs = new Tabs(navigator.locks)
  await new Session({ fetcher, origin: '', registry, environment: browserEnvironment, tabs }).login(LOGIN)
}

function open(): Domovoi {
  domovoi ??= createDomovoi({
    fetcher,
    origin: '',
    page: { protocol: 'http:', host: 'nowhere.invalid' },
    permissions: undefined,
    storage: localStorage,
    locks: navigator.locks,
    environment: browserEnvironment,
    isVisible: () => true,
    persist: () => Promise.resolve(false),
  })
  return domovoi
}

/** Connects and returns the account's database. */
async function connect(): Promise<AccountDatabase> {
  const app = open()
  await app.opened()
  if (app.engine.value === null) throw new Error('no account is open')
  account = app.engine.value.db
  return account
}

/** Opens the database with nothing running beside it. */
async function openOffline(): Promise<void> {
  const id = new AccountRegistry(localStorage).current()?.accountId ?? ''
  account = await openAccount(id, browserEnvironment)
}

function db(): AccountDatabase {
  if (account === null) throw new Error('ready() comes first')
  return account
}

/** The seeder makes the same ids: the conversation's number in the last bytes. */
function scopeOf(conversation: string): string {
  return conversation.slice(1).padStart(32, '0')
}

function drafts(message: Message): Draft[] {
  const scope = scopeOf(message.c)
  const eid = toHex(uuid7(Date.now(), crypto.getRandomValues(new Uint8Array(10))))
  const header = encodeValue({ role: message.a === 'u1' ? 'user' : 'assistant', parent: null })
  const place = { etype: EntityType.MESSAGE, eid, scope, isNew: true as const }
  return [
    { ...place, field: MessageField.HEADER, value: header },
    { ...place, field: MessageField.BODY, value: encodeText(JSON.stringify(message)) },
  ]
}

async function until<Value>(read: () => Promise<Value>, isMet: (value: Value) => boolean): Promise<Value> {
  return new Promise((resolve, reject) => {
    const subscription = liveQuery(read).subscribe({
      next: (value) => {
        if (!isMet(value)) return
        resolve(value)
        queueMicrotask(() => {
          subscription.unsubscribe()
        })
      },
      error: reject,
    })
  })
}

async function isInStep(): Promise<boolean> {
  const sync = await readSync(db())
  return !needsBootstrap(sync) && sync.inStepAt !== null
}

await logIn()

export default {
  async ready({ offline, live }: Settings): Promise<void> {
    if (offline === true) return openOffline()
    await connect()
    await until(isInStep, Boolean)
    const scope = scopeOf(live ?? '')
    const seen = new Set((await readThread(db(), scope)).messages.keys())
    watchThread(db(), scope, ({ messages }) => {
      for (const [id, { body }] of messages) {
        if (seen.has(id)) continue
        seen.add(id)
        for (const listener of listeners) listener(JSON.parse(body) as Message)
      }
    })
  },
  onMessage(listener: (message: Message) => void): void {
    listeners.push(listener)
  },
  writeMessage: async (message: Message) => write(db(), drafts(message)),
  /** Counts nothing: most of it is in segments, and `countLocal` reads them all afterwards. */
  async bootstrap({ convs }: Settings, { onList }: { onList: () => void }): Promise<void> {
    await connect()
    await until(
      () => readSummaries(db()),
      (list) => list.length >= convs,
    )
    onList()
    await until(isInStep, Boolean)
  },
  async writeOffline(messages: Message[]): Promise<void> {
    for (let start = 0; start < messages.length; start += CHUNK)
      await write(db(), messages.slice(start, start + CHUNK).flatMap(drafts))
  },
  async push(): Promise<void> {
    // The account was opened without an engine: open it as a start of the app does.
    db().close()
    await connect()
    await until(
      () => db().outbox.count(),
      (count) => count === 0,
    )
  },
  async countLocal({ ids }: { ids: string[] }): Promise<number> {
    let count = 0
    for (const id of ids) {
      const { messages } = await readThread(db(), scopeOf(id))
      for (const { body } of messages.values()) if ((JSON.parse(body) as Message).x.length === 250) count += 1
    }
    return count
  },
}
