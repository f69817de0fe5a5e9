import 'fake-indexeddb/auto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rename, send } from '../../src/local/actions'
import { loadEntities, placeOf } from '../../src/local/entities'
import { noteServer, readOwnLog, write } from '../../src/local/log'
import { acknowledge, adoptDevice, markForked, nextPush, restamp } from '../../src/local/outbox'
import { allWaiting, packRows } from '../../src/local/outboxRows'
import { readThread } from '../../src/local/reads'
import { compareBytes, toHex } from '../../src/protocol/bytes'
import { FIRST_HASH, foldHashes } from '../../src/protocol/canonical'
import { deviceOf, millisecondsOf } from '../../src/protocol/clock'
import { limits } from '../../src/protocol/generated'
import { DEVICE, knowEpoch, NODE, openTestDatabase, OTHER_DEVICE, TestEnvironment } from './fixtures'

const TITLE = { etype: 2, field: 1, scope: 'aa'.repeat(16), eid: 'aa'.repeat(16) }

function title(size: number) {
  return { ...TITLE, value: new Uint8Array(size) }
}

describe('allocation', () => {
  it('L15: two tabs that write at once never take the same dseq or clock', async () => {
    const environment = new TestEnvironment()
    const first = await openTestDatabase({ environment })
    const second = await openTestDatabase({ environment, accountId: first.accountId })
    await Promise.all(
      Array.from({ length: 40 }, (_, index) => write(index % 2 ? first : second, [title(1), title(2), title(3)])),
    )
    const rows = await allWaiting(first)
    expect(rows.map((row) => row.dseq)).toEqual(Array.from({ length: 120 }, (_, index) => index + 1))
    const clocks = rows.map((row) => row.change[0])
    expect(clocks.every((clk, index) => index === 0 || compareBytes(clk, clocks[index - 1] ?? clk) > 0)).toBe(true)
  })

  it('L15: a transaction that breaks anywhere leaves neither cell, clock, dseq nor outbox row', async () => {
    const db = await openTestDatabase()
    await send(db, { conversation: null, text: 'kept', node: NODE, model: null })
    const before = await Promise.all([db.entity.toArray(), db.outbox.toArray(), readOwnLog(db), db.summary.toArray()])
    for (const table of [db.entity, db.outbox, db.summary, db.pending]) {
      const breakIt = () => {
        throw new Error('power cut')
      }
      table.hook('creating', breakIt)
      table.hook('updating', breakIt)
      await expect(send(db, { conversation: null, text: 'lost', node: NODE, model: null })).rejects.toThrow()
      table.hook('creating').unsubscribe(breakIt)
      table.hook('updating').unsubscribe(breakIt)
      const after = await Promise.all([db.entity.toArray(), db.outbox.toArray(), readOwnLog(db), db.summary.toArray()])
      expect(after).toEqual(before)
    }
  })
})

describe('pushing', () => {
  it('waits for the epoch, which the first pull brings', async () => {
    const db = await openTestDatabase()
    await write(db, [title(1)])
    expect(await nextPush(db)).toBeNull()
    await knowEpoch(db, 7)
    expect(await nextPush(db)).toMatchObject({ epoch: 7, first_dseq: 1, prev_hash: FIRST_HASH })
  })

  it('holds at most 500 changes and one megabyte, and always one change', async () => {
    const db = await openTestDatabase()
    await knowEpoch(db, 1)
    await write(db, [
      ...Array.from({ length: 3 }, () => title(limits.MAX_VALUE_BYTES)),
      ...Array.from({ length: 600 }, () => title(1)),
    ])
    const sizes: number[] = []
    for (let push = await nextPush(db); push !== null; push = await nextPush(db)) {
      sizes.push(push.changes.length)
      await acknowledge(db, push.first_dseq + push.changes.length - 1)
    }
    expect(sizes.every((size) => size >= 1 && size <= limits.MAX_PUSH_CHANGES)).toBe(true)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(603)
    expect(sizes[0]).toBe(1)
  })

  it('L5: the chain is right wherever acknowledgements cut the log, and repeated ones change nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 12 }), { maxLength: 6 }), async (cuts) => {
        const db = await openTestDatabase()
        await knowEpoch(db, 1)
        await write(
          db,
          Array.from({ length: 10 }, (_, index) => title(index)),
        )
        const all = (await allWaiting(db)).map((row) => row.change)
        for (const cut of cuts) await acknowledge(db, cut)
        const acked = Math.min(10, Math.max(0, ...cuts))
        const { ackedDseq, ackedHash } = await readOwnLog(db)
        expect(ackedDseq).toBe(acked)
        expect(ackedHash).toEqual(foldHashes(FIRST_HASH, 1, all)[acked - 1] ?? FIRST_HASH)
        expect((await nextPush(db))?.changes ?? []).toEqual(all.slice(acked))
        db.close()
      }),
      { numRuns: 20 },
    )
  })
})

describe('stamping again', () => {
  it('C6: what nobody has acknowledged gets clocks of the server’s time, in order, in outbox and cells', async () => {
    const environment = new TestEnvironment()
    const db = await openTestDatabase({ environment })
    await knowEpoch(db, 1)
    environment.ms += 3_600_000
    const { conversation } = await send(db, { conversation: null, text: 'from the future', node: NODE, model: null })
    await rename(db, conversation, 'Later')
    await noteServer(db, environment.ms - 3_600_000, false)
    await restamp(db)
    const rows = await allWaiting(db)
    expect(rows.map((row) => row.dseq)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(rows.every((row) => millisecondsOf(row.change[0]) <= environment.ms - 3_600_000 + 1)).toBe(true)
    const { messages, summary } = await readThread(db, conversation)
    expect([...messages.values()].map((message) => message.body)).toContain('from the future')
    expect(summary?.title).toBe('Later')
    const entities = await loadEntities(
      db,
      rows.map((row) => placeOf(row.change)),
    )
    const cells = entities.flatMap((entity) => Object.values(entity.fields))
    // The first change, the title that it began with, has been overwritten.
    const last = rows.slice(1)
    expect(new Set(cells.map((cell) => toHex(cell[0])))).toEqual(new Set(last.map((row) => toHex(row.change[0]))))
  })

  it('L21: an offer keeps its clock, unless the server would refuse it', async () => {
    const environment = new TestEnvironment()
    const db = await openTestDatabase({ environment })
    await send(db, { conversation: null, text: 'then', node: NODE, model: null })
    environment.ms += 3_600_000
    await send(db, { conversation: null, text: 'far ahead', node: NODE, model: null })
    const before = (await allWaiting(db)).map((waiting) => ({ ...waiting, isOffer: true as const }))
    await db.outbox.clear()
    await db.outbox.bulkAdd(packRows(before))
    await noteServer(db, environment.ms - 3_600_000, false)
    await restamp(db)
    const after = await allWaiting(db)
    expect(after.slice(0, 6)).toEqual(before.slice(0, 6))
    for (const { change, isOffer } of after.slice(6)) {
      expect(isOffer).toBeUndefined()
      expect(millisecondsOf(change[0])).toBeLessThanOrEqual(environment.ms - 3_600_000 + 1)
    }
  })

  it('L8: a fork stops pushing; a new device id begins a new chain with everything unacknowledged', async () => {
    const db = await openTestDatabase()
    await knowEpoch(db, 1)
    await write(db, [title(1), title(2)])
    await acknowledge(db, 1)
    await markForked(db)
    expect(await nextPush(db)).toBeNull()
    await adoptDevice(db, OTHER_DEVICE)
    const push = await nextPush(db)
    expect(push).toMatchObject({ first_dseq: 1, prev_hash: FIRST_HASH })
    expect(push?.changes.map((change) => toHex(deviceOf(change[0])))).toEqual([OTHER_DEVICE])
  })

  it('logging in again as the same device changes nothing', async () => {
    const db = await openTestDatabase()
    await write(db, [title(1)])
    const before = await readOwnLog(db)
    await adoptDevice(db, DEVICE)
    expect(await readOwnLog(db)).toEqual(before)
  })
})
