/** Two tabs drain one outbox, because one of them was frozen when the other took over (L8, L15). */
import 'fake-indexeddb/auto'
import { describe, expect, it, onTestFinished } from 'vitest'
import { send } from '../../src/local/actions'
import { AccountDatabase } from '../../src/local/database'
import { readDevice, readOwnLog, readSync, write } from '../../src/local/log'
import { adoptDevice } from '../../src/local/outbox'
import { hasCode } from '../../src/protocol/errors'
import { EntityType, limits } from '../../src/protocol/generated'
import { Puller } from '../../src/sync/puller'
import { Pusher } from '../../src/sync/pusher'
import { Server } from '../../src/sync/server'
import type { Session } from '../../src/sync/session'
import { NODE, TestEnvironment } from '../local/fixtures'
import { FakeServer } from './fakeServer'

const NEVER = new AbortController().signal

/** Holds whoever passes until it is opened. */
class Gate {
  private open: () => void = () => undefined
  readonly isOpen = new Promise<void>((resolve) => {
    this.open = resolve
  })
  private reach: () => void = () => undefined
  readonly isReached = new Promise<void>((resolve) => {
    this.reach = resolve
  })

  async pass(): Promise<void> {
    this.reach()
    await this.isOpen
  }

  release(): void {
    this.open()
  }
}

class House {
  readonly server = new FakeServer()
  readonly db: AccountDatabase
  private readonly environment = new TestEnvironment()
  private deviceId = ''

  constructor() {
    this.environment.ms = this.server.ms
    this.db = new AccountDatabase('two-tabs', this.environment)
    onTestFinished(() => {
      this.db.close()
    })
  }

  async begin(): Promise<void> {
    this.deviceId = this.server.addDevice()
    await adoptDevice(this.db, this.deviceId)
    await new Puller(this.db, this.api()).pull(NEVER)
  }

  /** Logs in as another device, as a login does: over a connection to the data of its own. */
  async loginAnew(): Promise<void> {
    const db = new AccountDatabase('two-tabs', this.environment)
    this.deviceId = this.server.addDevice()
    await adoptDevice(db, this.deviceId)
    db.close()
  }

  /** A tab whose requests wait at one gate on their way there, and whose answers wait at another on their way back. */
  tab(there?: Gate, back?: Gate): Pusher {
    return new Pusher(this.db, this.api(there, back), () => undefined)
  }

  async ask(text: string): Promise<void> {
    await send(this.db, { conversation: null, text, node: NODE, model: null })
  }

  private api(there?: Gate, back?: Gate): Server {
    const session = {
      token: async () => (await readDevice(this.db)).id,
      forgetToken: () => undefined,
      deviceId: this.deviceId,
    }
    const fetcher = async (input: RequestInfo | URL, init: RequestInit = {}) => {
      await there?.pass()
      const headers = Object.fromEntries(new Headers(init.headers).entries())
      const answer = await this.server.handle(input as string, { ...init, headers })
      await back?.pass()
      return answer
    }
    return new Server(session as unknown as Session, fetcher, '')
  }
}

it.each(['after', 'before'])(
  'a push that comes late, %s the other tab has read its answer, is no fork',
  async (when) => {
    const house = new House()
    await house.begin()
    const there = new Gate()
    const back = new Gate()
    await house.ask('First')
    const frozen = house.tab(there).drain(NEVER)
    await there.isReached
    await house.ask('Second')
    const leading = house.tab(undefined, back).drain(NEVER)
    await back.isReached
    if (when === 'after') {
      back.release()
      await leading
    }
    there.release()
    await frozen
    back.release()
    await leading
    expect(await house.db.outbox.count()).toBe(0)
    expect(await readDevice(house.db)).toMatchObject({ isForked: false })
    // The next one goes on in the same chain.
    await house.ask('Third')
    await house.tab().drain(NEVER)
    expect(await house.db.outbox.count()).toBe(0)
  },
)

it('a device that the server knows further than its own disk is a fork', async () => {
  const house = new House()
  await house.begin()
  await house.ask('First')
  const rows = await house.db.outbox.toArray()
  const log = await house.db.getMeta('ownLog')
  await house.ask('Second')
  await house.tab().drain(NEVER)
  // The profile is put back from a backup.
  await house.db.outbox.bulkPut(rows)
  if (log !== undefined) await house.db.putMeta('ownLog', log)
  await expect(house.tab().drain(NEVER)).rejects.toSatisfy((error) => hasCode(error, 'device_forked'))
  expect(await readDevice(house.db)).toMatchObject({ isForked: true })
})

describe('many pushes', () => {
  const MANY = 3 * limits.MAX_PUSH_CHANGES + 7

  async function writeMany(house: House): Promise<void> {
    const place = { etype: EntityType.SETTING, scope: '00'.repeat(16), field: 1, value: new Uint8Array(3) }
    await write(
      house.db,
      Array.from({ length: MANY }, (_, index) => ({ ...place, eid: index.toString(16).padStart(32, '0') })),
    )
  }

  it('go on their way while what was answered is stored, and nothing of them is pulled', async () => {
    const house = new House()
    await house.begin()
    await writeMany(house)
    await house.tab().drain(NEVER)
    expect(await house.db.outbox.count()).toBe(0)
    expect(house.server.pushes).toBe(4)
    expect(house.server.cells.size).toBe(MANY)
    expect(await readSync(house.db)).toMatchObject({ cursor: MANY })
  })

  it('whose answers were not stored before the browser ended are no fork while it holds the changes', async () => {
    const house = new House()
    await house.begin()
    await writeMany(house)
    const rows = await house.db.outbox.toArray()
    const log = await readOwnLog(house.db)
    await house.tab().drain(NEVER)
    await house.db.outbox.bulkPut(rows)
    await house.db.putMeta('ownLog', log)
    await house.ask('After the crash')
    await house.tab().drain(NEVER)
    expect(await house.db.outbox.count()).toBe(0)
    expect(await readDevice(house.db)).toMatchObject({ isForked: false })
    expect((await readOwnLog(house.db)).ackedDseq).toBe(MANY + 6)
  })

  it('are a fork where what was written since is not what the server has', async () => {
    const house = new House()
    await house.begin()
    await writeMany(house)
    const rows = await house.db.outbox.toArray()
    const log = await readOwnLog(house.db)
    await house.ask('First')
    await house.tab().drain(NEVER)
    // The profile is put back from a backup, and goes on in another way.
    await house.db.outbox.bulkPut(rows)
    await house.db.putMeta('ownLog', log)
    await house.ask('Second')
    await expect(house.tab().drain(NEVER)).rejects.toSatisfy((error) => hasCode(error, 'device_forked'))
    expect(await readDevice(house.db)).toMatchObject({ isForked: true })
    expect(await house.db.outbox.count()).toBeGreaterThan(rows.length)
  })

  it('of a tab that was frozen between two of them are no fork', async () => {
    const house = new House()
    await house.begin()
    await writeMany(house)
    const back = new Gate()
    const frozen = house.tab(undefined, back).drain(NEVER)
    await back.isReached
    await house.tab().drain(NEVER)
    back.release()
    await frozen
    expect(await house.db.outbox.count()).toBe(0)
    expect(await readDevice(house.db)).toMatchObject({ isForked: false })
    await house.ask('Next')
    await house.tab().drain(NEVER)
    expect(await house.db.outbox.count()).toBe(0)
  })
})

it('what was written just before a login as another device is pushed as that one', async () => {
  const house = new House()
  await house.begin()
  await house.ask('Written a moment ago')
  await house.loginAnew()
  await house.tab().drain(NEVER)
  expect(await house.db.outbox.count()).toBe(0)
  expect(await readDevice(house.db)).toMatchObject({ isForked: false })
  await house.ask('And the next')
  await house.tab().drain(NEVER)
  expect(await house.db.outbox.count()).toBe(0)
})
