/** The list's line of a conversation: whether its messages were read for it or not, it is the same. */
import 'fake-indexeddb/auto'
import fc from 'fast-check'
import { expect, it, vi } from 'vitest'
import { AccountDatabase } from '../../src/local/database'
import { applyAside } from '../../src/local/log'
import { adoptDevice } from '../../src/local/outbox'
import { rebuildSummaries } from '../../src/local/summaries'
import { fromHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { ConversationField, EntityType, MessageField, type PulledChange } from '../../src/protocol/generated'
import { encodeValue } from '../../src/protocol/values'
import { DEVICE, OTHER_DEVICE, TestEnvironment } from './fixtures'

const SCOPE = 'cc'.repeat(16)
const IDS = ['01', '02', '03'].map((byte) => byte.repeat(16))
const FOREIGN = fromHex(OTHER_DEVICE)

type Drawn = [etype: number, eid: string, field: number, value: unknown]

const ofConversation = fc.oneof(
  fc
    .constantFrom('', ' ', 'A name')
    .map((title): Drawn => [EntityType.CONVERSATION, SCOPE, ConversationField.TITLE, title]),
  fc.boolean().map((value): Drawn => [EntityType.CONVERSATION, SCOPE, ConversationField.PINNED, value]),
  fc.boolean().map((value): Drawn => [EntityType.CONVERSATION, SCOPE, ConversationField.DELETED, value]),
  fc
    .constantFrom(...IDS)
    .map((id): Drawn => [EntityType.CONVERSATION, SCOPE, ConversationField.ACTIVE_LEAF, fromHex(id)]),
)
const ofMessage = fc
  .nat({ max: 2 })
  .chain((place) =>
    fc.constantFrom<Drawn>(
      [
        EntityType.MESSAGE,
        IDS[place] ?? '',
        MessageField.HEADER,
        { role: 'user', parent: place === 0 ? null : fromHex(IDS[place - 1] ?? '') },
      ],
      [EntityType.MESSAGE, IDS[place] ?? '', MessageField.BODY, `Question ${String(place)}`],
      [EntityType.MESSAGE, IDS[place] ?? '', MessageField.DELETED, true],
    ),
  )

it('is what the cells say, in a tab that has read the conversation and in one that has not', async () => {
  const steps = fc.array(fc.array(fc.oneof(ofConversation, ofMessage), { minLength: 1, maxLength: 3 }), {
    maxLength: 8,
  })
  await fc.assert(
    fc.asyncProperty(steps, fc.boolean(), async (drawn, isReopened) => {
      const environment = new TestEnvironment()
      let db = new AccountDatabase('listed', environment)
      await adoptDevice(db, DEVICE)
      let ms = 0
      for (const step of drawn) {
        if (isReopened) {
          db.close()
          db = new AccountDatabase('listed', environment)
        }
        await applyAside(
          db,
          step.map(([etype, eid, field, value]): PulledChange => {
            ms += 1
            return [pack(ms, 0, FOREIGN), etype, fromHex(eid), field, fromHex(SCOPE), 0, encodeValue(value), ms]
          }),
        )
      }
      const kept = await Promise.all([db.summary.toArray(), db.pending.toArray()])
      await db.putMeta('summaryVersion', 0)
      db.close()
      db = new AccountDatabase('listed', environment)
      await rebuildSummaries(db)
      expect(kept).toEqual(await Promise.all([db.summary.toArray(), db.pending.toArray()]))
      db.close()
    }),
    { numRuns: 20 },
  )
}, 30_000)

it('takes no look at the messages for another name', async () => {
  const environment = new TestEnvironment()
  const before = new AccountDatabase('named', environment)
  const change = (ms: number, [etype, eid, field, value]: Drawn): PulledChange => {
    return [pack(ms, 0, FOREIGN), etype, fromHex(eid), field, fromHex(SCOPE), 0, encodeValue(value), ms]
  }
  await applyAside(before, [
    change(1, [EntityType.MESSAGE, IDS[0] ?? '', MessageField.HEADER, { role: 'user', parent: null }]),
  ])
  before.close()
  const db = new AccountDatabase('named', environment)
  const read = vi.spyOn(IDBIndex.prototype, 'getAll')
  await applyAside(db, [change(2, [EntityType.CONVERSATION, SCOPE, ConversationField.TITLE, 'A name'])])
  expect(read).not.toHaveBeenCalled()
  expect(await db.summary.get(SCOPE)).toMatchObject({ title: 'A name', listed: true, revision: 2 })
  read.mockRestore()
  db.close()
})
