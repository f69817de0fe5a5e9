/**
 * A browser that ends at any moment, or is put back from a backup: nothing that was committed is lost, no place in a
 * device's log is used twice, and everything agrees in the end (L8, L10, L15).
 */
import 'fake-indexeddb/auto'
import fc from 'fast-check'
import { IDBDatabase } from 'fake-indexeddb'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { rename, send } from '../../src/local/actions'
import { AccountDatabase } from '../../src/local/database'
import { allEntities } from '../../src/local/entities'
import { readDevice, readSync } from '../../src/local/log'
import { adoptDevice } from '../../src/local/outbox'
import { allWaiting } from '../../src/local/outboxRows'
import { readSummaries } from '../../src/local/reads'
import { compareBytes } from '../../src/protocol/bytes'
import { cellKey, type StoredChange } from '../../src/protocol/change'
import { hasCode } from '../../src/protocol/errors'
import { limits, type Change } from '../../src/protocol/generated'
import { Puller } from '../../src/sync/puller'
import { Pusher } from '../../src/sync/pusher'
import { Server } from '../../src/sync/server'
import type { Session } from '../../src/sync/session'
import { NODE, TestEnvironment } from '../local/fixtures'
import { FakeServer } from './fakeServer'

const NEVER = new AbortController().signal
const STEPS = ['ask', 'rename', 'elsewhere', 'push', 'pull'] as const
type Step = (typeof STEPS)[number]

/** Every row of a database, by table. */
type Rows = Map<string, unknown[]>

/** What is on the disk at one moment, and what the server has at that moment. */
interface Moment {
  rows: Rows
  server: FakeServer
}

interface RawDatabase {
  rawObjectStores: Map<string, { records: { values: () => Iterable<{ value: unknown }> } }>
}

/** One profile of a browser, and the parts that talk to the server. */
class Profile {
  readonly environment = new TestEnvironment()
  readonly db: AccountDatabase
  private readonly pusher: Pusher
  private readonly puller: Puller
  forks = 0

  constructor(private readonly server: FakeServer) {
    // Clocks of a profile that was put back go on from then, so that what it writes now could collide with what it wrote.
    this.environment.ms = Date.now()
    this.db = new AccountDatabase('crashing', this.environment)
    const session = {
      token: async () => (session.deviceId = (await readDevice(this.db)).id),
      forgetToken: () => undefined,
      deviceId: '',
    }
    const fetcher = async (input: RequestInfo | URL, init: RequestInit = {}) => {
      return this.server.handle(input as string, {
        ...init,
        headers: Object.fromEntries(new Headers(init.headers).entries()),
      })
    }
    const api = new Server(session as unknown as Session, fetcher, '')
    this.pusher = new Pusher(this.db, api, () => undefined)
    this.puller = new Puller(this.db, api)
    onTestFinished(() => {
      this.db.close()
    })
  }

  /** What a login does: as this device, or as a new one. */
  async begin(): Promise<void> {
    await adoptDevice(this.db, this.server.addDevice())
  }

  async put(rows: Rows): Promise<void> {
    await this.db.open()
    for (const [name, values] of rows) if (values.length > 0) await this.db.table(name).bulkPut(values)
  }

  rows(): Rows {
    const databases = (this.environment.indexedDB as unknown as { _databases: Map<string, RawDatabase> })._databases
    const stores = databases.get(this.db.name)?.rawObjectStores ?? new Map<string, never>()
    return new Map(
      [...stores].map(([name, store]) => [
        name,
        [...store.records.values()].map(({ value }) => structuredClone(value)),
      ]),
    )
  }

  async act(step: Step, number: number): Promise<void> {
    const first = (await readSummaries(this.db))[0]?.id
    if (step === 'push') await this.push()
    else if (step === 'pull') await this.puller.pull(NEVER)
    else if (step === 'elsewhere') this.server.store(await this.elsewhere(first, number))
    else if (step === 'rename' && first !== undefined) await rename(this.db, first, `Name ${String(number)}`)
    else await send(this.db, { conversation: null, text: `Question ${String(number)}`, node: NODE, model: null })
  }

  /** Pushes what waits, as a new device where the server knows another history of this one. */
  async push(): Promise<void> {
    if ((await readSync(this.db)).epoch === null) return
    try {
      await this.pusher.drain(NEVER)
    } catch (error) {
      if (!hasCode(error, 'device_forked')) throw error
      this.forks += 1
      await this.begin()
      await this.pusher.drain(NEVER)
    }
  }

  /** Reads and pushes until both have the same. */
  async settle(): Promise<void> {
    await this.puller.pull(NEVER)
    await this.push()
    await this.puller.pull(NEVER)
  }

  /** Another device writes the first conversation's title, or nothing where there is none. */
  private async elsewhere(conversation: string | undefined, number: number): Promise<Change[]> {
    if (conversation === undefined) return []
    const other = new Profile(this.server)
    await other.begin()
    await rename(other.db, conversation, `Elsewhere ${String(number)}`)
    return (await allWaiting(other.db)).map(({ change }) => change)
  }
}

/** Runs the steps, and returns what there was after each commit and each push. */
async function moments(steps: readonly Step[]): Promise<Moment[]> {
  const server = new FakeServer()
  const profile = new Profile(server)
  const seen: Moment[] = []
  const note = () => seen.push({ rows: profile.rows(), server: server.copy() })
  const begin = IDBDatabase.prototype.transaction
  const spy = vi.spyOn(IDBDatabase.prototype, 'transaction').mockImplementation(function (this: IDBDatabase, ...how) {
    const transaction = begin.apply(this, how)
    if (this.name === profile.db.name && transaction.mode === 'readwrite')
      transaction.addEventListener('complete', note)
    return transaction
  })
  server.onPushed = note
  try {
    await profile.begin()
    await profile.act('pull', 0)
    for (const [number, step] of steps.entries()) await profile.act(step, number)
  } finally {
    spy.mockRestore()
    server.onPushed = () => undefined
  }
  // A backup of the profile, put back much later: the server has gone on to the end.
  return [...seen, ...seen.map(({ rows }) => ({ rows, server: server.copy() }))]
}

async function cellsOf(db: AccountDatabase): Promise<Map<string, StoredChange>> {
  const cells = (await allEntities(db)).flatMap(({ fields }) => Object.values(fields))
  return new Map(cells.map((cell) => [cellKey(cell), cell]))
}

/** Starts again from one moment, writes something else, and holds the outcome against what was there. */
async function startAgain({ rows, server }: Moment): Promise<number> {
  const profile = new Profile(server)
  await profile.put(rows)
  if ((await profile.db.getMeta('device')) === undefined) return 0
  const before = await cellsOf(profile.db)
  const had = new Map(server.cells)
  await send(profile.db, { conversation: null, text: 'After the crash', node: NODE, model: null })
  const written = await cellsOf(profile.db)
  await profile.settle()
  for (const committed of [before, written, had])
    for (const [key, cell] of committed) {
      const held = server.cells.get(key)
      expect(held, key).toBeDefined()
      if (held !== undefined) expect(compareBytes(held[0], cell[0])).toBeGreaterThanOrEqual(0)
    }
  expect(await profile.db.outbox.count()).toBe(0)
  const clocks = (cells: Iterable<[string, readonly [Uint8Array, ...unknown[]]]>) =>
    new Map([...cells].map(([key, cell]) => [key, cell[0].join()]))
  expect(clocks(await cellsOf(profile.db))).toEqual(clocks(server.cells))
  return profile.forks
}

describe('L8, L10, L15: a browser killed, or put back from a backup, at any moment', () => {
  // With small pushes several follow each other, and the next is on its way while the last answer is stored.
  it.each([
    { changes: limits.MAX_PUSH_CHANGES, numRuns: 6 },
    { changes: 4, numRuns: 3 },
  ])(
    'loses nothing and agrees in the end, by pushes of $changes changes',
    async ({ changes, numRuns }) => {
      const usual = { ...limits }
      Object.assign(limits, { MAX_PUSH_CHANGES: changes })
      onTestFinished(() => {
        Object.assign(limits, usual)
      })
      let forks = 0
      const steps = fc.array(fc.constantFrom(...STEPS), { minLength: 3, maxLength: 8 })
      await fc.assert(
        fc.asyncProperty(steps, async (drawn) => {
          for (const moment of await moments(['ask', 'push', ...drawn, 'push'])) forks += await startAgain(moment)
        }),
        { numRuns, examples: [[['rename', 'push', 'elsewhere', 'pull', 'ask']], [['elsewhere', 'ask', 'ask']]] },
      )
      // What was put back after its pushes had gone on was found out each time.
      expect(forks).toBeGreaterThan(8)
    },
    60_000,
  )
})
