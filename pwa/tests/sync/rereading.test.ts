/** Conversations that are over, and reading everything anew (L18-L21). */
import 'fake-indexeddb/auto'
import { describe, expect, it } from 'vitest'
import type { AccountDatabase } from '../../src/local/database'
import { applyPage, needsBootstrap, readSync, write } from '../../src/local/log'
import { removeConversation, rename, send } from '../../src/local/actions'
import { readPending, readSummaries, readThread } from '../../src/local/reads'
import { fromHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { ConversationField, EntityType, type PulledChange } from '../../src/protocol/generated'
import { encodeValue } from '../../src/protocol/values'
import { NODE, openTestDatabase, OTHER_DEVICE, storedEntity } from '../local/fixtures'
import { eventually, House } from './house'

function tombstone(scope: string, ms: number, seq = 90): PulledChange {
  const place = fromHex(scope)
  const change = [pack(ms, 0, fromHex(OTHER_DEVICE)), EntityType.CONVERSATION, place, ConversationField.PURGED, place]
  return [...change, 0, encodeValue(true), seq] as PulledChange
}

async function ask(db: AccountDatabase, text: string) {
  return send(db, { conversation: null, text, node: NODE, model: null })
}

async function up(house: House) {
  const domovoi = await house.browser().login()
  const engine = domovoi.engine.value
  if (engine === null) throw new Error('no account is open')
  await eventually(() => {
    expect(engine.link.connection).toBe('up')
  })
  return engine
}

function cellsOf(house: House): Map<string, string> {
  return new Map([...house.server.cells].map(([key, cell]) => [key, `${cell[0].join()} ${cell[6].join()}`]))
}

async function settled(db: AccountDatabase, epoch = 1): Promise<void> {
  await eventually(async () => {
    expect(await db.outbox.count()).toBe(0)
    const sync = await readSync(db)
    expect(sync.epoch).toBe(epoch)
    expect(needsBootstrap(sync)).toBe(false)
    expect(sync.cursor).toBeGreaterThan(0)
  })
}

describe('L18: a purge', () => {
  it('takes everything of its conversation, also from what is kept in memory, and nothing comes back', async () => {
    const db = await openTestDatabase()
    const [gone, kept] = [await ask(db, 'Gone'), await ask(db, 'Kept')]
    expect((await readThread(db, gone.conversation)).messages.size).toBe(2)
    const page = { epoch: 1, since: 0, cursor: 90, changes: [tombstone(gone.conversation, db.environment.now())] }
    await applyPage(db, page)
    expect((await readSummaries(db)).map(({ id }) => id)).toEqual([kept.conversation])
    expect((await readThread(db, gone.conversation)).messages.size).toBe(0)
    expect((await readPending(db)).pending.map(({ id }) => id)).toEqual([kept.answer])
    expect((await db.entity.toArray()).filter(({ scope }) => scope === gone.conversation)).toHaveLength(1)
    await rename(db, gone.conversation, 'Back again')
    expect((await readSummaries(db)).map(({ id }) => id)).toEqual([kept.conversation])
    expect((await db.entity.toArray()).filter(({ scope }) => scope === gone.conversation)).toHaveLength(1)
  })

  it('that the server has forgotten itself is told in the answer to a push', async () => {
    const house = new House()
    const engine = await up(house)
    const sent = await ask(engine.db, 'Gone')
    await settled(engine.db)
    house.server.store([tombstone(sent.conversation, Date.now()).slice(0, 7) as never])
    await eventually(async () => {
      expect(await readSummaries(engine.db)).toEqual([])
    })
    // What this device writes there comes to nothing, and its tombstone stays.
    await rename(engine.db, sent.conversation, 'Back again')
    await settled(engine.db)
    const kept = await storedEntity(engine.db, EntityType.CONVERSATION, sent.conversation)
    expect(Object.keys(kept?.fields ?? {})).toEqual([String(ConversationField.PURGED)])
    house.server.trim()
    // Another device that never saw the tombstone.
    const other = await up(house)
    await rename(other.db, sent.conversation, 'Back again')
    await settled(other.db)
    expect(await readSummaries(other.db)).toEqual([])
    expect(house.server.values(sent.conversation).size).toBe(0)
  })
})

it('L19: a device that was away too long drops what the server has let go of, and keeps its outbox', async () => {
  const house = new House()
  const browser = house.browser()
  const first = await browser.login()
  const db = first.engine.value?.db
  if (db === undefined) throw new Error('no account is open')
  const [gone, kept] = [await ask(db, 'Gone'), await ask(db, 'Kept')]
  await settled(db)
  first.close()
  house.server.store([tombstone(gone.conversation, Date.now()).slice(0, 7) as never])
  house.server.trim()

  const later = browser.open()
  await later.opened()
  const engine = later.engine.value
  if (engine === null) throw new Error('no account is open')
  await rename(engine.db, kept.conversation, 'Written while away')
  await settled(engine.db)
  await eventually(async () => {
    expect((await readSummaries(engine.db)).map(({ title }) => title)).toEqual(['Written while away'])
  })
  expect(house.server.values(kept.conversation).get(ConversationField.TITLE)).toBe('Written while away')
})

it('L21: what a restored backup has lost is offered again with its old clocks', async () => {
  const house = new House()
  const domovoi = await house.browser().login()
  const engine = domovoi.engine.value
  if (engine === null) throw new Error('no account is open')
  const before = await ask(engine.db, 'In the backup')
  await settled(engine.db)
  const head = house.server.cells.size
  const after = await ask(engine.db, 'After the backup')
  await removeConversation(engine.db, before.conversation)
  await settled(engine.db)
  const everything = cellsOf(house)
  house.server.restore(head)
  expect(cellsOf(house).size).toBeLessThan(everything.size)
  house.server.streams.cut()
  engine.tryNow()
  // The server has lost the end of this device's log too, so the device needs a new id, and with it a password.
  await eventually(() => {
    expect(domovoi.session.state.ended).toBe(true)
  })
  await domovoi.session.login({ username: 'anna', password: 'three plain words', device_name: 'Test' })
  await eventually(() => {
    expect(cellsOf(house)).toEqual(everything)
  })
  await settled(engine.db, 2)
  expect((await readSummaries(engine.db)).map(({ id }) => id)).toEqual([after.conversation])
})

describe('L20: the digest', () => {
  it('finds a silent gap, and what was missing is read', async () => {
    const house = new House()
    const engine = await up(house)
    const sent = await ask(engine.db, 'Whole')
    await settled(engine.db)
    await engine.db.entity.delete([EntityType.MESSAGE, sent.message])
    await engine.db.putMeta('comparedAt', 0)
    house.server.streams.cut()
    engine.tryNow()
    await eventually(async () => {
      expect(await engine.db.entity.get([EntityType.MESSAGE, sent.message])).toBeDefined()
    })
    await settled(engine.db)
  })

  it('says nothing of a device that has still something to push', async () => {
    const house = new House()
    const engine = await up(house)
    await ask(engine.db, 'Whole')
    await settled(engine.db)
    const reads = house.server.bootstraps.length
    await engine.db.putMeta('comparedAt', 0)
    house.server.refuse = 'quota_exceeded'
    await write(engine.db, [
      { etype: EntityType.SETTING, eid: 'aa'.repeat(16), field: 1, scope: 'aa'.repeat(16), value: encodeValue(1) },
    ])
    house.server.streams.cut()
    engine.tryNow()
    await eventually(() => {
      expect(engine.link.problem).toBe('quota_exceeded')
    })
    expect(house.server.bootstraps).toHaveLength(reads)
  })
})
