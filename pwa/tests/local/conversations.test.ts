import 'fake-indexeddb/auto'
import { Encoder } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { removeMessage, rename, send, stop } from '../../src/local/actions'
import { applyAside } from '../../src/local/log'
import { loadConversation } from '../../src/local/conversations'
import { AccountDatabase } from '../../src/local/database'
import { packOutline, unpackOutline, writeOutline } from '../../src/local/outlines'
import { readPending, readSummaries, readThread } from '../../src/local/reads'
import { fromHex, toHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { EntityType, MessageField, type Change } from '../../src/protocol/generated'
import { encodeValue } from '../../src/protocol/values'
import { NODE, openTestDatabase, OTHER_DEVICE, TestEnvironment } from './fixtures'

/** What a person or a node does; the numbers choose tab and message. */
const deed = fc.record({
  kind: fc.constantFrom('send', 'end', 'remove', 'undo', 'stop', 'rename', 'break', 'outline'),
  tab: fc.nat({ max: 1 }),
  which: fc.nat(),
})

/** What all tabs must see alike; a tab that opens now has nothing in memory. */
async function seen(db: AccountDatabase, conversation: string) {
  const thread = await readThread(db, conversation)
  const messages = [...thread.messages.values()].sort((left, right) => (left.id < right.id ? -1 : 1))
  const { pending } = await readPending(db)
  return { ...thread, messages, summaries: await readSummaries(db), pending }
}

function loaded(db: AccountDatabase, conversation: string) {
  return db.threadReading(() => loadConversation(db, conversation))
}

describe('a conversation in memory, or in one piece', () => {
  it('L15: is the one in IndexedDB after any deeds in two tabs, broken transactions among them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { maxLength: 14 }), async (deeds) => {
        const environment = new TestEnvironment()
        const first = await openTestDatabase({ environment })
        const second = await openTestDatabase({ environment, accountId: first.accountId })
        const { conversation, answer } = await send(first, {
          conversation: null,
          text: 'Rye?',
          node: NODE,
          model: null,
        })
        const ids = [answer]
        const undos: (() => Promise<void>)[] = []
        for (const [index, { kind, tab, which }] of deeds.entries()) {
          const db = tab === 0 ? first : second
          const id = ids[which % ids.length] ?? answer
          environment.ms += 1
          if (kind === 'send') {
            const sent = await send(db, { conversation, text: String(index), node: NODE, model: null })
            ids.push(sent.message, sent.answer)
          } else if (kind === 'end') {
            const clk = pack(environment.ms, 0, fromHex(OTHER_DEVICE))
            const scope = fromHex(conversation)
            const state = encodeValue({ state: 'done' })
            await applyAside(db, [[clk, EntityType.MESSAGE, fromHex(id), MessageField.STATE, scope, 0, state]])
          } else if (kind === 'remove') undos.push(await removeMessage(db, id))
          else if (kind === 'undo') await undos.pop()?.()
          else if (kind === 'stop') await stop(db, id)
          else if (kind === 'outline') await writeOutline(db, conversation, await loaded(db, conversation))
          else if (kind === 'rename') await rename(db, conversation, String(index))
          else {
            const broken = db.logTransaction(async () => {
              await rename(db, conversation, 'never')
              throw new Error('power cut')
            })
            await expect(broken).rejects.toThrow('power cut')
          }
          if (which % 2 === 0) await readThread(db, conversation)
        }
        const fresh = new AccountDatabase(first.accountId, environment)
        const reopened = await seen(fresh, conversation)
        await fresh.outline.clear()
        const again = new AccountDatabase(first.accountId, environment)
        const truth = await seen(again, conversation)
        expect(reopened).toEqual(truth)
        for (const db of [first, second]) expect(await seen(db, conversation)).toEqual(truth)
        for (const db of [fresh, again, first, second]) db.close()
      }),
      { numRuns: 15 },
    )
  })

  it('Q5: a request that ended is pending no more, in a tab too that has never read its conversation', async () => {
    const environment = new TestEnvironment()
    const first = await openTestDatabase({ environment })
    const draft = { conversation: null, text: 'Rye?', node: NODE, model: null }
    const [one, other] = [await send(first, draft), await send(first, draft)]
    // What was pending, it reads before it writes what has ended it.
    const second = new AccountDatabase(first.accountId, environment)
    const state = encodeValue({ state: 'done' })
    const clk = pack(environment.ms + 1, 0, fromHex(OTHER_DEVICE))
    const place = [fromHex(one.answer), MessageField.STATE, fromHex(one.conversation)] as const
    await applyAside(second, [[clk, EntityType.MESSAGE, ...place, 0, state]])
    for (const db of [first, second]) {
      expect((await readPending(db)).pending.map(({ id }) => id)).toEqual([other.answer])
    }
    second.close()
  })

  it('those of one millisecond are listed by their ids, the same in every tab', async () => {
    const environment = new TestEnvironment()
    const first = await openTestDatabase({ environment })
    const ids = []
    for (const text of ['One', 'Two', 'Three', 'Four']) {
      ids.push((await send(first, { conversation: null, text, node: NODE, model: null })).conversation)
    }
    environment.ms += 1
    const newest = await send(first, { conversation: null, text: 'Later', node: NODE, model: null })
    const fresh = new AccountDatabase(first.accountId, environment)
    for (const db of [first, fresh]) {
      expect((await readSummaries(db)).map(({ id }) => id)).toEqual([newest.conversation, ...ids.toSorted()])
    }
    fresh.close()
  })

  it('an outline of another version is passed over', async () => {
    const db = await openTestDatabase()
    const { conversation } = await send(db, { conversation: null, text: 'Rye?', node: NODE, model: null })
    const before = await loaded(db, conversation)
    expect(unpackOutline(conversation, packOutline(before))).toMatchObject({ messages: before.messages })
    const packed = new Encoder().encode({ version: 0 })
    await db.outline.put({ scope: conversation, revision: 99, packed })
    const fresh = new AccountDatabase(db.accountId, db.environment)
    expect((await loaded(fresh, conversation)).messages).toEqual(before.messages)
    fresh.close()
  })

  it('is written in one piece when it has grown long, and read from there', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const db = await openTestDatabase()
    const scope = new Uint8Array(16).fill(7)
    const header = encodeValue({ role: 'user', parent: null })
    const changes = Array.from({ length: 1_000 }, (_, n): Change => {
      const id = new Uint8Array(16)
      new DataView(id.buffer).setUint32(0, n)
      const clk = pack(db.environment.now(), n, fromHex(OTHER_DEVICE))
      return [clk, EntityType.MESSAGE, id, MessageField.HEADER, scope, 0, header]
    })
    await applyAside(db, changes)
    expect(await db.outline.count()).toBe(0)
    await vi.advanceTimersByTimeAsync(1_000)
    await vi.waitFor(async () => {
      expect(await db.outline.count()).toBe(1)
    })
    const fresh = new AccountDatabase(db.accountId, db.environment)
    await fresh.entity.clear()
    expect((await loaded(fresh, toHex(scope))).messages.size).toBe(1_000)
    fresh.close()
  })
})
