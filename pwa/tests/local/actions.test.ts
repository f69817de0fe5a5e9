import 'fake-indexeddb/auto'
import { describe, expect, it } from 'vitest'
import * as actions from '../../src/local/actions'
import type { AccountDatabase } from '../../src/local/database'
import { applyAside } from '../../src/local/log'
import { readPending, readRequestPath, readSummaries, readThread } from '../../src/local/reads'
import { fromHex } from '../../src/protocol/bytes'
import { tick, ZERO_CLOCK } from '../../src/protocol/clock'
import { EntityType, MessageField, type State } from '../../src/protocol/generated'
import { Tree } from '../../src/protocol/messages'
import { encodeValue } from '../../src/protocol/values'
import { NODE, openTestDatabase, OTHER_DEVICE } from './fixtures'

async function shown(db: AccountDatabase, conversation: string) {
  const { conversation: cells, messages } = await readThread(db, conversation)
  return new Tree(messages).activePath(cells.activeLeaf)
}

/** The node ends an answer. */
async function end(db: AccountDatabase, sent: actions.Sent, state: State['state'], body = 'Hi') {
  const clk = tick(ZERO_CLOCK, db.environment.now(), fromHex(OTHER_DEVICE))
  const [eid, scope] = [fromHex(sent.answer), fromHex(sent.conversation)]
  await applyAside(db, [
    [clk, EntityType.MESSAGE, eid, MessageField.BODY, scope, 0, encodeValue(body)],
    [clk, EntityType.MESSAGE, eid, MessageField.STATE, scope, 0, encodeValue({ state })],
  ])
}

async function begin(db: AccountDatabase, text = 'Hello') {
  return actions.send(db, { conversation: null, text, node: NODE, model: null })
}

describe('send', () => {
  it('Q1: writes message and request together, and lists the conversation by its first line (M7)', async () => {
    const db = await openTestDatabase()
    const sent = await begin(db, 'Hello\nthere')
    expect((await shown(db, sent.conversation)).map((message) => message.id)).toEqual([sent.message, sent.answer])
    expect(await readSummaries(db)).toMatchObject([{ id: sent.conversation, title: 'Hello', listed: true }])
    expect((await readPending(db)).pending).toMatchObject([{ id: sent.answer, node: NODE, state: 'queued' }])
  })

  it.each([
    ['```python\nprint(1)\n```', 'print(1)'],
    ['## **Rye** bread\n\nBake it.', 'Rye bread'],
    ['- one\n- two', 'one'],
    ['1. `scale(2)`', 'scale(2)'],
    ['2 * 3 * 4, snake_case', '2 * 3 * 4, snake_case'],
  ])('lists an answer without the marks of Markdown: %j', async (body, snippet) => {
    const db = await openTestDatabase()
    await end(db, await begin(db), 'done', body)
    expect(await readSummaries(db)).toMatchObject([{ snippet }])
  })

  it('keeps how an answer was asked for when the question is edited or asked again', async () => {
    const db = await openTestDatabase()
    const how = { conversation: null, text: 'Hello', node: NODE, model: 'small', sampling: { max_tokens: 100 } }
    const first = await actions.send(db, how)
    const again = await actions.regenerate(db, first.answer, null)
    const edited = await actions.edit(db, first.message, 'Good day', NODE)
    const { messages } = await readThread(db, first.conversation)
    for (const { answer } of [first, again, edited]) {
      expect(messages.get(answer)?.request).toMatchObject({ model: 'small', sampling: { max_tokens: 100 } })
    }
  })

  it('follows the end of the shown branch', async () => {
    const db = await openTestDatabase()
    const first = await begin(db)
    await end(db, first, 'done')
    const second = await actions.send(db, { conversation: first.conversation, text: 'More', node: NODE, model: null })
    const path = await shown(db, first.conversation)
    expect(path.map((message) => message.body)).toEqual(['Hello', 'Hi', 'More', ''])
    expect(path.at(-1)?.id).toBe(second.answer)
  })

  it.each([
    ['no text', '', 'bad_request'],
    ['white space', ' \n', 'bad_request'],
    ['a lone surrogate', 'half \ud83d', 'bad_request'],
    ['too much text', 'x'.repeat(100_001), 'body_too_large'],
  ])('V4: refuses %s and writes nothing', async (_name, text, code) => {
    const db = await openTestDatabase()
    await expect(begin(db, text)).rejects.toMatchObject({ code })
    expect(await db.outbox.count()).toBe(0)
  })

  it('takes 100,000 characters, however many bytes they are', async () => {
    const db = await openTestDatabase()
    await expect(begin(db, '🔥'.repeat(100_000))).resolves.toBeDefined()
  })
})

describe('a request that goes straight to the node', () => {
  it('carries the texts of its path', async () => {
    const db = await openTestDatabase()
    const first = await begin(db)
    await end(db, first, 'done')
    await actions.send(db, { conversation: first.conversation, text: 'More', node: NODE, model: null })
    const [pending] = (await readPending(db)).pending
    expect(pending && (await readRequestPath(db, pending))?.path).toEqual([
      { role: 'user', text: 'Hello' },
      { role: 'assistant', text: 'Hi' },
      { role: 'user', text: 'More' },
    ])
  })

  it.each(['failed', 'interrupted'] as const)('Q3: waits after an answer that %s', async (state) => {
    const db = await openTestDatabase()
    const first = await begin(db)
    await end(db, first, state)
    await actions.send(db, { conversation: first.conversation, text: 'More', node: NODE, model: null })
    const [pending] = (await readPending(db)).pending
    expect(pending && (await readRequestPath(db, pending))).toBeNull()
  })
})

describe('siblings (M3)', () => {
  it('regenerate asks for another answer beside the old one and stops it if it runs', async () => {
    const db = await openTestDatabase()
    const sent = await begin(db)
    const { answer } = await actions.regenerate(db, sent.answer, NODE)
    const { messages } = await readThread(db, sent.conversation)
    expect(messages.get(sent.answer)?.stop).toBe(true)
    expect(new Tree(messages).children(sent.message).map((message) => message.id)).toEqual([sent.answer, answer])
    expect((await shown(db, sent.conversation)).at(-1)?.id).toBe(answer)
  })

  it('edit writes a sibling of the message, and chooseBranch goes back', async () => {
    const db = await openTestDatabase()
    const sent = await begin(db)
    await end(db, sent, 'done')
    await actions.edit(db, sent.message, 'Good evening', NODE)
    expect((await shown(db, sent.conversation)).map((message) => message.body)).toEqual(['Good evening', ''])
    await actions.chooseBranch(db, sent.message)
    expect((await shown(db, sent.conversation)).map((message) => message.body)).toEqual(['Hello', 'Hi'])
  })
})

describe('taking back', () => {
  it('withdraw gives the text back; the log keeps its order and the node is told to stop (Q6)', async () => {
    const db = await openTestDatabase()
    const sent = await begin(db, 'Not this')
    const before = await db.outbox.toArray()
    expect(await actions.withdraw(db, sent.message)).toBe('Not this')
    expect((await db.outbox.toArray()).slice(0, before.length)).toEqual(before)
    expect(await shown(db, sent.conversation)).toEqual([])
    expect(await readSummaries(db)).toEqual([])
    expect((await readThread(db, sent.conversation)).messages.get(sent.answer)?.stop).toBe(true)
  })

  it('M6: a removed message hides what is below it; undo brings it back', async () => {
    const db = await openTestDatabase()
    const sent = await begin(db)
    await end(db, sent, 'done')
    const undo = await actions.removeMessage(db, sent.message)
    expect(await shown(db, sent.conversation)).toEqual([])
    await undo()
    expect((await shown(db, sent.conversation)).map((message) => message.body)).toEqual(['Hello', 'Hi'])
  })

  it('M6, Q6: a removed conversation stops what runs in it, in the same transaction; undo brings it back', async () => {
    const db = await openTestDatabase()
    const sent = await begin(db)
    const undo = await actions.removeConversation(db, sent.conversation)
    expect(await readSummaries(db)).toEqual([])
    expect((await readPending(db)).pending).toMatchObject([{ id: sent.answer, stop: true }])
    expect((await readThread(db, sent.conversation)).messages.get(sent.answer)?.stop).toBe(true)
    await undo()
    expect(await readSummaries(db)).toMatchObject([{ id: sent.conversation }])
  })

  it('stop of an answer that has ended writes nothing', async () => {
    const db = await openTestDatabase()
    const sent = await begin(db)
    await end(db, sent, 'done')
    const count = await db.outbox.count()
    await actions.stop(db, sent.answer)
    expect(await db.outbox.count()).toBe(count)
  })
})

it('renames and pins', async () => {
  const db = await openTestDatabase()
  const first = await begin(db, 'First')
  await begin(db, 'Second')
  await actions.rename(db, first.conversation, '  Rye  ')
  await actions.pin(db, first.conversation, true)
  expect((await readSummaries(db)).map(({ title, pinned }) => [title, pinned])).toEqual([
    ['Rye', true],
    ['Second', false],
  ])
})

it('refuses what is not there', async () => {
  const db = await openTestDatabase()
  await expect(actions.edit(db, 'ee'.repeat(16), 'x', NODE)).rejects.toMatchObject({ code: 'not_found' })
})
