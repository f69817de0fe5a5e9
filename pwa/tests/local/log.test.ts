import 'fake-indexeddb/auto'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { applyAside, applyPage, beginAnew, readOwnLog, readSync, write, type LogPage } from '../../src/local/log'
import { readSummaries } from '../../src/local/reads'
import { fromHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { ConversationField, EntityType, MessageField, type PulledChange } from '../../src/protocol/generated'
import { encodeValue } from '../../src/protocol/values'
import { openTestDatabase, OTHER_DEVICE, TestEnvironment, storedEntity } from './fixtures'

const SCOPE = 'cc'.repeat(16)
const FOREIGN = fromHex(OTHER_DEVICE)

function pulled(ms: number, eid: string, etype: number, field: number, value: unknown, seq: number): PulledChange {
  return [pack(ms, 0, FOREIGN), etype, fromHex(eid), field, fromHex(SCOPE), 0, encodeValue(value), seq]
}

function page(changes: PulledChange[], since = 0): LogPage {
  return { epoch: 1, since, cursor: changes.at(-1)?.[7] ?? since, changes }
}

const alarm = vi.spyOn(console, 'error')

beforeEach(() => {
  alarm.mockImplementation(() => undefined)
})

afterEach(() => {
  alarm.mockReset()
})

const anyChange = fc
  .tuple(fc.nat({ max: 3 }), fc.nat({ max: 2 }), fc.constantFrom(1, 2, 3, 99), fc.nat({ max: 3 }), fc.string())
  .map(([ms, entity, etype, field, value]) => pulled(ms, `0${String(entity)}`.repeat(16), etype, field, value, 1))

describe('pulled changes', () => {
  it('leave nothing of their page with the clock that is kept', async () => {
    const db = await openTestDatabase()
    const [clk, ...rest] = pulled(1, '01'.repeat(16), 1, 1, 'text', 1)
    const view = new Uint8Array([...new Uint8Array(1000), ...clk]).subarray(1000)
    await applyPage(db, page([[view, ...rest]]))
    const { clock, sharedClock } = await readOwnLog(db)
    expect([clock.buffer.byteLength, sharedClock.buffer.byteLength]).toEqual([16, 16])
  })

  it('L6: every order of arrival gives the same cells and summaries', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc
          .array(anyChange, { maxLength: 12 })
          .chain((changes) =>
            fc.tuple(fc.constant(changes), fc.shuffledSubarray(changes, { minLength: changes.length })),
          ),
        async ([changes, shuffled]) => {
          const states = []
          for (const order of [changes, shuffled]) {
            const db = await openTestDatabase()
            await applyPage(db, page(order))
            states.push([await db.entity.toArray(), await db.summary.toArray(), await db.pending.toArray()])
            db.close()
          }
          expect(states[1]).toEqual(states[0])
        },
      ),
      { numRuns: 30 },
    )
  })

  it('L9: a page that comes twice changes nothing', async () => {
    const db = await openTestDatabase()
    const first = page([pulled(5, SCOPE, EntityType.CONVERSATION, ConversationField.TITLE, 'Rye', 3)])
    await applyPage(db, first)
    const state = async () => Promise.all([db.entity.toArray(), readSync(db), readOwnLog(db), db.summary.toArray()])
    const before = await state()
    await applyPage(db, first)
    expect(await state()).toEqual(before)
  })

  it('L7: two changes with one clock raise an alarm, a repeated one does not', async () => {
    const db = await openTestDatabase()
    await applyPage(db, page([pulled(5, SCOPE, 2, 1, 'a', 1), pulled(5, SCOPE, 2, 1, 'a', 1)]))
    expect(alarm).not.toHaveBeenCalled()
    await applyPage(db, page([pulled(5, SCOPE, 2, 1, 'b', 2)]))
    expect(alarm).toHaveBeenCalledOnce()
  })

  it('L13: a page that does not follow the cursor moves it nowhere', async () => {
    const db = await openTestDatabase()
    await applyPage(db, page([pulled(5, SCOPE, 2, 1, 'a', 3)]))
    await applyPage(db, page([pulled(6, SCOPE, 2, 1, 'b', 9)], 7))
    expect((await readSync(db)).cursor).toBe(3)
    await applyPage(db, page([pulled(6, SCOPE, 2, 1, 'b', 2)], 1))
    expect((await readSync(db)).cursor).toBe(3)
  })

  it('L14: another epoch is read from its start, and what is held stays', async () => {
    const db = await openTestDatabase()
    await applyPage(db, page([pulled(5, SCOPE, 2, 1, 'a', 3)]))
    await beginAnew(db, 'history')
    expect(await readSync(db)).toMatchObject({ epoch: null, cursor: 0 })
    await applyPage(db, { ...page([pulled(6, SCOPE, 2, 1, 'b', 1)]), epoch: 2 })
    expect(await readSync(db)).toMatchObject({ epoch: 2, cursor: 1 })
    expect(await readSummaries(db)).toMatchObject([{ title: 'b' }])
  })

  it('L3: unknown entity types and fields are kept', async () => {
    const db = await openTestDatabase()
    const strange = pulled(5, SCOPE, 4711, 42, { any: ['thing'] }, 1)
    await applyPage(db, page([strange]))
    expect((await storedEntity(db, 4711, SCOPE))?.fields[42]).toEqual(strange)
  })
})

describe('clocks', () => {
  it('C2: what this device writes comes after what it has pulled', async () => {
    const environment = new TestEnvironment()
    const db = await openTestDatabase({ environment })
    await applyPage(db, page([pulled(environment.ms + 30_000, SCOPE, 2, 1, 'theirs', 1)]))
    await write(db, [{ etype: 2, eid: SCOPE, field: 1, scope: SCOPE, value: encodeValue('mine') }])
    expect(await readSummaries(db)).toMatchObject([{ title: 'mine' }])
  })

  it('C5: a clock far ahead does not move this device’s clock', async () => {
    const environment = new TestEnvironment()
    const db = await openTestDatabase({ environment })
    const before = (await readOwnLog(db)).clock
    await applyPage(db, page([pulled(environment.ms + 60_001, SCOPE, 2, 1, 'theirs', 1)]))
    expect((await readOwnLog(db)).clock).toEqual(before)
  })
})

it('S5: the changes of an ended run are stored without moving the cursor', async () => {
  const db = await openTestDatabase()
  const answer = 'dd'.repeat(16)
  const [clk, etype, eid, , scope] = pulled(9, answer, EntityType.MESSAGE, 0, '', 0)
  await applyAside(db, [
    [clk, etype, eid, MessageField.BODY, scope, 0, encodeValue('Hello')],
    [clk, etype, eid, MessageField.STATE, scope, 0, encodeValue({ state: 'done' })],
  ])
  expect(Object.keys((await storedEntity(db, EntityType.MESSAGE, answer))?.fields ?? {})).toHaveLength(2)
  expect((await readSync(db)).cursor).toBe(0)
})
