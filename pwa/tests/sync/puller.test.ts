/** Reading an account for the first time: its state in the order of keys, then the log (L16, L17). */
import 'fake-indexeddb/auto'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { AccountDatabase } from '../../src/local/database'
import { allEntities } from '../../src/local/entities'
import { applyPage, beginAnew, readSync } from '../../src/local/log'
import { readSummaries, readThread } from '../../src/local/reads'
import { keyOf } from '../../src/local/segments'
import { fromHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { ProblemError } from '../../src/protocol/errors'
import { ConversationField, EntityType, MessageField, type Change } from '../../src/protocol/generated'
import { encodeText, encodeValue } from '../../src/protocol/values'
import { Puller } from '../../src/sync/puller'
import { Server } from '../../src/sync/server'
import { OTHER_DEVICE, openTestDatabase } from '../local/fixtures'
import { House } from './house'

const FOREIGN = fromHex(OTHER_DEVICE)
const NEVER = new AbortController().signal

function idOf(number: number): string {
  return number.toString(16).padStart(32, '0')
}

function change(ms: number, etype: number, eid: string, field: number, scope: string, value: Uint8Array): Change {
  return [pack(ms, 0, FOREIGN), etype, fromHex(eid), field, fromHex(scope), 0, value]
}

/** A conversation of one question, `number` being its age: greater is newer. */
function conversation(number: number): Change[] {
  const [scope, message] = [idOf(number), idOf(1000 + number)]
  const header = encodeValue({ role: 'user', parent: null })
  const leaf = encodeValue(fromHex(message))
  return [
    change(number, EntityType.MESSAGE, message, MessageField.HEADER, scope, header),
    change(number, EntityType.MESSAGE, message, MessageField.BODY, scope, encodeText(`Question ${String(number)}`)),
    change(number, EntityType.CONVERSATION, scope, ConversationField.ACTIVE_LEAF, scope, leaf),
    change(
      number,
      EntityType.CONVERSATION,
      scope,
      ConversationField.TITLE,
      scope,
      encodeText(`Chat ${String(number)}`),
    ),
  ]
}

/** A device of the house, with nothing in it. */
async function newDevice(house: House): Promise<{ db: AccountDatabase; puller: Puller }> {
  const domovoi = await house.browser().login()
  domovoi.close()
  const db = await openTestDatabase()
  const fetcher = async (input: RequestInfo | URL, init: RequestInit = {}) => {
    await Promise.resolve()
    return house.handle(input as string, { ...init, headers: Object.fromEntries(new Headers(init.headers).entries()) })
  }
  return { db, puller: new Puller(db, new Server(domovoi.session, fetcher, '')) }
}

async function stateOf(db: AccountDatabase): Promise<unknown[]> {
  const entities = (await allEntities(db)).sort((left, right) => (keyOf(left) < keyOf(right) ? -1 : 1))
  // A revision counts the writes on this device, and they depend on the way.
  const cells = entities.map(({ etype, eid, scope, fields }) => ({ etype, eid, scope, fields }))
  const summaries = (await db.summary.toArray()).map((summary) => ({ ...summary, revision: 0 }))
  return [cells, summaries, await db.pending.toArray(), (await readSync(db)).cursor]
}

describe('L16', () => {
  it('lists every conversation after the first page, newest first, and is usable before the rest is here', async () => {
    const house = new House()
    for (let number = 1; number <= 5; number += 1) house.server.store(conversation(number))
    const { db, puller } = await newDevice(house)
    const lists: string[][] = []
    const onPage = () => lists.push([])
    const seen: Promise<void>[] = []
    await puller.pull(NEVER, () => {
      const index = onPage() - 1
      seen.push(
        readSummaries(db).then((summaries) => {
          lists[index] = summaries.map(({ title }) => title)
        }),
      )
    })
    await Promise.all(seen)
    expect(lists[0]).toEqual(['Chat 5', 'Chat 4', 'Chat 3', 'Chat 2', 'Chat 1'])
    expect(lists.length).toBeGreaterThan(2)
    expect((await readSummaries(db)).map(({ snippet }) => snippet)[0]).toBe('Question 5')
  })

  it('goes on where it was cut, page by page, and reads none twice', async () => {
    const house = new House()
    for (let number = 1; number <= 9; number += 1) house.server.store(conversation(number))
    const { db, puller } = await newDevice(house)
    let pages = 0
    const cut = new AbortController()
    await expect(
      puller.pull(cut.signal, () => {
        pages += 1
        if (pages === 2) {
          house.server.isUp = false
          cut.abort(new ProblemError('offline'))
        }
      }),
    ).rejects.toThrow()
    const { bootstrap, cursor } = await readSync(db)
    expect(bootstrap).toBeTruthy()
    expect(cursor).toBe(0)
    house.server.isUp = true
    const before = house.server.bootstraps.length
    await puller.pull(NEVER)
    expect(house.server.bootstraps[before]).toBe(bootstrap)
    expect(await readSummaries(db)).toHaveLength(9)
    expect(await readSync(db)).toMatchObject({ bootstrap: null, cursor: 36 })
  })

  it('begins again when the server has another history by now', async () => {
    const house = new House()
    for (let number = 1; number <= 9; number += 1) house.server.store(conversation(number))
    const { db, puller } = await newDevice(house)
    let pages = 0
    await puller.pull(NEVER, () => {
      pages += 1
      if (pages === 1) house.server.epoch = 2
    })
    expect(await readSync(db)).toMatchObject({ epoch: 2, bootstrap: null })
    expect(await readSummaries(db)).toHaveLength(9)
  })

  it('gives what a pull from 0 gives, whatever is written between the pages', async () => {
    const writes = fc.array(fc.tuple(fc.nat({ max: 6 }), fc.nat({ max: 5 }), fc.nat({ max: 9 })), { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 7 }), fc.integer({ min: 1, max: 6 }), writes, async (count, cells, later) => {
        const house = new House()
        house.server.bootstrapCells = cells
        for (let number = 1; number <= count; number += 1) house.server.store(conversation(number))
        const { db, puller } = await newDevice(house)
        let pages = 0
        await puller.pull(NEVER, () => {
          pages += 1
          for (const [page, number, ms] of later) {
            if (page !== pages) continue
            const scope = idOf(number + 1)
            const title = encodeText(`Renamed ${String(ms)}`)
            house.server.store([
              change(100 + ms, EntityType.CONVERSATION, scope, ConversationField.TITLE, scope, title),
            ])
          }
        })
        await puller.pull(NEVER)
        const other = await openTestDatabase()
        const changes = [...house.server.cells.values()].sort((left, right) => left[7] - right[7])
        const { cursor } = await readSync(db)
        await applyPage(other, { epoch: house.server.epoch, since: 0, cursor, changes })
        expect(await stateOf(db)).toEqual(await stateOf(other))
      }),
      { numRuns: 20 },
    )
  })
})

it('L23: a long conversation comes in segments, read ahead of the rest or not, and other reading finds them', async () => {
  const house = new House()
  house.server.bootstrapCells = 7
  const scope = idOf(1)
  house.server.store(conversation(1))
  const more = Array.from({ length: 30 }, (_, number) => {
    const header = encodeValue({ role: 'user', parent: null })
    return [
      change(number, EntityType.MESSAGE, idOf(2000 + number), MessageField.HEADER, scope, header),
      change(number, EntityType.MESSAGE, idOf(2000 + number), MessageField.BODY, scope, encodeText('Rye')),
    ]
  }).flat()
  house.server.store(more)
  const warning = vi.spyOn(console, 'warn').mockImplementation(() => undefined)
  for (const isAhead of [false, true]) {
    const { db, puller } = await newDevice(house)
    if (isAhead) await puller.pullScope(scope, NEVER)
    await puller.pull(NEVER)
    // What is here already stays in rows.
    expect((await db.segment.count()) > 0).toBe(!isAhead)
    expect((await readThread(db, scope)).messages.size).toBe(31)
    // Nothing differs from what the server has, and reading everything anew changes nothing.
    const before = await stateOf(db)
    await db.putMeta('comparedAt', 0)
    await puller.pull(NEVER)
    expect(warning).not.toHaveBeenCalled()
    await beginAnew(db, 'gap')
    await puller.pull(NEVER)
    expect(await stateOf(db)).toEqual(before)
    if (isAhead) continue
    await db.segment.clear()
    await db.putMeta('comparedAt', 0)
    await puller.pull(NEVER)
    expect(warning).toHaveBeenCalledOnce()
    expect(await stateOf(db)).toEqual(before)
    warning.mockReset()
  }
})

it('L13: news of what this device pushed is pulled where the answer to that does not come', async () => {
  const house = new House()
  house.server.store(conversation(1))
  const { db, puller } = await newDevice(house)
  await puller.pull(NEVER)
  const { epoch, cursor } = await readSync(db)
  house.server.store(conversation(2))
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const news = { epoch: epoch ?? 0, prev_head: cursor, head: cursor + 4, changes: null }
  const never = new Promise<void>(() => undefined)
  const taking = puller.take(news, async () => never, NEVER)
  await vi.advanceTimersByTimeAsync(1_000)
  vi.useRealTimers()
  await taking
  expect((await readSync(db)).cursor).toBe(cursor + 4)
  expect(await readSummaries(db)).toHaveLength(2)
})

it('L17: a conversation is read ahead of the rest, and moves no cursor', async () => {
  const house = new House()
  for (let number = 1; number <= 9; number += 1) house.server.store(conversation(number))
  const { db, puller } = await newDevice(house)
  await puller.pullScope(idOf(1), NEVER)
  expect(await readSummaries(db)).toMatchObject([{ title: 'Chat 1', snippet: 'Question 1' }])
  expect(await readSync(db)).toMatchObject({ epoch: null, cursor: 0 })
  await puller.pull(NEVER)
  expect(await readSummaries(db)).toHaveLength(9)
  const before = house.server.bootstraps.length
  await puller.pullScope(idOf(1), NEVER)
  expect(house.server.bootstraps).toHaveLength(before)
})
