/** What goes wrong with the browser's storage: it is full, or the browser drops its connection to it. */
import 'fake-indexeddb/auto'
import { liveQuery } from 'dexie'
import { IDBObjectStore } from 'fake-indexeddb'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { send } from '../../src/local/actions'
import { readSummaries } from '../../src/local/reads'
import { ProblemError } from '../../src/protocol/errors'
import { eventually } from '../sync/house'
import { NODE, openTestDatabase } from './fixtures'

const draft = (text: string) => ({ conversation: null, text, node: NODE, model: null })

/** The n-th row that is written from now on does not fit, and no later one either. */
function fill(n: number): () => void {
  let written = 0
  const put = IDBObjectStore.prototype.put
  const spies = (['put', 'add'] as const).map((method) =>
    vi.spyOn(IDBObjectStore.prototype, method).mockImplementation(function (this: IDBObjectStore, ...row) {
      written += 1
      if (written >= n) throw new DOMException('no room', 'QuotaExceededError')
      return put.apply(this, row)
    }),
  )
  const restore = () => {
    for (const spy of spies) spy.mockRestore()
  }
  onTestFinished(restore)
  return restore
}

describe('a device without room', () => {
  it('says so at whichever row, and has either all of a message or nothing', async () => {
    const db = await openTestDatabase()
    await send(db, draft('Kept'))
    let failures = 0
    for (let n = 1; ; n += 1) {
      const before = { outbox: await db.outbox.count(), log: await db.getMeta('ownLog') }
      const restore = fill(n)
      const error: unknown = await send(db, draft(`Message ${String(n)}`)).then(
        () => null,
        (reason: unknown) => reason,
      )
      restore()
      if (error === null) break
      failures += 1
      expect(error).toBeInstanceOf(ProblemError)
      expect(error).toMatchObject({ code: 'device_full' })
      expect({ outbox: await db.outbox.count(), log: await db.getMeta('ownLog') }).toEqual(before)
    }
    expect(failures).toBeGreaterThan(3)
    expect((await readSummaries(db)).map(({ title }) => title)).toContain('Kept')
  })
})

describe('a lost connection to the data', () => {
  for (const isTold of [true, false])
    it(`is opened again by the next who needs it${isTold ? '' : ', even if nobody told'}`, async () => {
      const db = await openTestDatabase()
      await send(db, draft('Before'))
      const seen: number[] = []
      const subscription = liveQuery(() => readSummaries(db)).subscribe((list) => seen.push(list.length))
      onTestFinished(() => {
        subscription.unsubscribe()
      })
      await eventually(() => {
        expect(seen.at(-1)).toBe(1)
      })
      const lost = db.backendDB()
      lost.close()
      if (isTold) lost.onclose?.call(lost, new Event('close'))
      await send(db, draft('After'))
      await eventually(() => {
        expect(seen.at(-1)).toBe(2)
      })
    })
})
