/** A conversation on the screen: what others wrote is seen before it is committed here, and never flickers. */
import 'fake-indexeddb/auto'
import Dexie from 'dexie'
import fc from 'fast-check'
import { expect, it, onTestFinished, vi } from 'vitest'
import { AccountDatabase } from '../../src/local/database'
import { applyAside, storeForeign, write } from '../../src/local/log'
import { adoptDevice } from '../../src/local/outbox'
import { readThread, type StoredThread } from '../../src/local/reads'
import { watchThread } from '../../src/local/watchThread'
import { fromHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { EntityType, MessageField, type PulledChange } from '../../src/protocol/generated'
import { encodeValue } from '../../src/protocol/values'
import { DEVICE, OTHER_DEVICE, TestEnvironment } from './fixtures'

const SCOPE = 'cc'.repeat(16)
const HEADER = encodeValue({ role: 'user', parent: null })

function idOf(number: number): string {
  return String(number).padStart(32, '0')
}

function message(number: number): PulledChange {
  const clock = pack(number, 0, fromHex(OTHER_DEVICE))
  return [clock, EntityType.MESSAGE, fromHex(idOf(number)), MessageField.HEADER, fromHex(SCOPE), 0, HEADER, number]
}

async function writeHere(db: AccountDatabase, number: number): Promise<void> {
  const place = { etype: EntityType.MESSAGE, eid: idOf(number), scope: SCOPE }
  await write(db, [{ ...place, field: MessageField.HEADER, value: HEADER }])
}

/** What comes and is never committed. */
async function lose(db: AccountDatabase, number: number): Promise<void> {
  const lost = db.pullTransaction(async () => {
    await storeForeign(db, [message(number)], () => null)
    throw new Error('cut')
  })
  await expect(lost).rejects.toThrow('cut')
}

interface Watched {
  db: AccountDatabase
  other: AccountDatabase
  shown: StoredThread[]
}

async function watched(): Promise<Watched> {
  const environment = new TestEnvironment()
  const [db, other] = [new AccountDatabase('watched', environment), new AccountDatabase('watched', environment)]
  await adoptDevice(db, DEVICE)
  const shown: StoredThread[] = []
  const stop = watchThread(db, SCOPE, (thread) => shown.push(thread))
  onTestFinished(() => {
    stop()
    db.close()
    other.close()
  })
  await vi.waitFor(() => {
    expect(shown).not.toEqual([])
  })
  return { db, other, shown }
}

const idsOf = (thread: StoredThread | undefined) => [...(thread?.messages.keys() ?? [])]

it('shows what others wrote before it is committed here', async () => {
  const { db, shown } = await watched()
  let isCommitted = false
  const hear = () => (isCommitted = true)
  Dexie.on('storagemutated', hear)
  const seen = vi.fn()
  const stop = db.previews.watch(SCOPE, () => {
    seen(isCommitted, idsOf(shown.at(-1)))
  })
  await applyAside(db, [message(1)])
  expect(seen.mock.calls).toEqual([[false, [idOf(1)]]])
  expect(isCommitted).toBe(true)
  Dexie.on.storagemutated.unsubscribe(hear)
  stop()
})

it('takes back what is not committed', async () => {
  const { db, shown } = await watched()
  await applyAside(db, [message(1)])
  const before = shown.length
  await lose(db, 2)
  expect(shown.slice(before).map(idsOf)).toContainEqual([idOf(1), idOf(2)])
  await vi.waitFor(() => {
    expect(idsOf(shown.at(-1))).toEqual([idOf(1)])
  })
  await applyAside(db, [message(2)])
  expect(idsOf(shown.at(-1))).toEqual([idOf(1), idOf(2)])
})

it('shows what is stored in the end, and nothing that was committed goes away meanwhile', async () => {
  const steps = fc.array(fc.constantFrom('news', 'written', 'lost', 'elsewhere'), { minLength: 1, maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(steps, fc.boolean(), async (drawn, isInTurn) => {
      const { db, other, shown } = await watched()
      const lost = new Set<string>()
      const works: Promise<unknown>[] = []
      for (const [index, step] of drawn.entries()) {
        const number = index + 1
        if (step === 'lost') lost.add(idOf(number))
        const work = {
          news: () => applyAside(db, [message(number)]),
          written: () => writeHere(db, number),
          lost: () => lose(db, number),
          elsewhere: () => applyAside(other, [message(number)]),
        }[step]()
        works.push(work)
        if (isInTurn) await work
      }
      await Promise.all(works)
      const stored = await readThread(db, SCOPE)
      await vi.waitFor(
        () => {
          const last = shown.at(-1)
          expect([idsOf(last).sort(), last?.summary, last?.unacknowledged]).toEqual([
            idsOf(stored).sort(),
            stored.summary,
            stored.unacknowledged,
          ])
        },
        { timeout: 20_000, interval: 5 },
      )
      for (const [index, thread] of shown.entries()) {
        const before = idsOf(shown[index - 1]).filter((id) => !lost.has(id))
        expect(idsOf(thread)).toEqual(expect.arrayContaining(before))
      }
    }),
    { numRuns: 15 },
  )
}, 60_000)
