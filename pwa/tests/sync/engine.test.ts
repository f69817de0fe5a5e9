/** The life of a message, seen from the app. */
import 'fake-indexeddb/auto'
import { describe, expect, it, vi } from 'vitest'
import * as actions from '../../src/local/actions'
import { readSummaries, readThread } from '../../src/local/reads'
import { toHex } from '../../src/protocol/bytes'
import { MessageField } from '../../src/protocol/generated'
import type { Domovoi } from '../../src/stores/domovoi'
import type { Engine } from '../../src/sync/engine'
import { eventually, House, NODE } from './house'

/** Before another try is made by itself, and far sooner than it was without. */
const WITHIN = { timeout: 20_000, interval: 10 }

function engineOf(domovoi: Domovoi): Engine {
  if (domovoi.engine.value === null) throw new Error('no account is open')
  return domovoi.engine.value
}

async function connected(domovoi: Domovoi, kind: 'direct' | 'relay' = 'direct'): Promise<Engine> {
  const engine = engineOf(domovoi)
  await eventually(() => {
    expect(engine.link.connection).toBe('up')
    expect(engine.router.best(NODE)?.kind).toBe(kind)
  })
  return engine
}

async function ask(engine: Engine, text = 'Hello', conversation: string | null = null) {
  return actions.send(engine.db, { conversation, text, node: NODE, model: null })
}

async function answerOf(engine: Engine, sent: actions.Sent) {
  return (await readThread(engine.db, sent.conversation)).messages.get(sent.answer)
}

describe('everything is there', () => {
  it('sends, streams and keeps the answer', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    const sent = await ask(engine)
    await eventually(() => {
      expect(house.node.starts).toHaveLength(1)
    })
    house.node.emit(sent.answer, { kind: 'started', model: 'small', engine: 'llama_cpp' })
    house.node.say(sent.answer, 'Good ', 'evening')
    await eventually(() => {
      expect(engine.answers.live.get(sent.answer)?.text).toBe('Good evening')
    })
    house.node.end(sent.answer)
    await eventually(async () => {
      expect(await answerOf(engine, sent)).toMatchObject({ body: 'Good evening', state: { state: 'done' } })
      expect(await engine.db.outbox.count()).toBe(0)
    })
    expect(house.server.values(sent.message).get(MessageField.BODY)).toBe('Hello')
  })

  it('L13: another profile of the account sees it at once', async () => {
    const house = new House()
    const first = await connected(await house.browser().login())
    const second = await connected(await house.browser().login())
    const sent = await ask(first)
    await eventually(async () => {
      expect(await readSummaries(second.db)).toMatchObject([{ id: sent.conversation }])
    })
  })
})

describe('nothing is there', () => {
  it('keeps what is written, over a restart of the app, and sends it once when everything is back', async () => {
    const house = new House()
    const browser = house.browser()
    const first = await browser.login()
    const before = await ask(await connected(first), 'Earlier')
    house.server.stop()
    house.node.stop()
    first.close()

    const reopened = browser.open()
    await reopened.opened()
    const engine = engineOf(reopened)
    const sent = await ask(engine, 'Later')
    // Both may be of the same millisecond, and then neither is the newer one.
    expect((await readSummaries(engine.db)).map((summary) => summary.title).sort()).toEqual(['Earlier', 'Later'])
    await eventually(() => {
      expect(engine.link).toMatchObject({ connection: 'down' })
      expect(engine.link.nextTryAt).toBeGreaterThan(Date.now() - 1)
    })

    house.server.isUp = house.node.isUp = true
    engine.tryNow()
    await connected(reopened)
    await eventually(() => {
      expect(house.node.starts.map((start) => toHex(start.answer)).sort()).toEqual([before.answer, sent.answer].sort())
    })
    house.node.say(sent.answer, 'Here')
    house.node.end(sent.answer)
    await eventually(async () => {
      expect(await answerOf(engine, sent)).toMatchObject({ body: 'Here' })
      expect(await engine.db.outbox.count()).toBe(0)
    })
    expect(house.server.values(sent.message).get(MessageField.BODY)).toBe('Later')
  })

  it('S5: with the server alone away, a loopback node answers, and the log learns of it later', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    const known = await ask(engine, 'A token for the node is fetched')
    await eventually(() => {
      expect(house.node.runs.has(known.answer)).toBe(true)
    })
    house.server.stop()
    const sent = await ask(engine, 'Server?')
    await eventually(() => {
      expect(house.node.runs.has(sent.answer)).toBe(true)
    })
    house.node.say(sent.answer, 'Gone.')
    house.node.end(sent.answer)
    await eventually(async () => {
      expect(await answerOf(engine, sent)).toMatchObject({ body: 'Gone.', state: { state: 'done' } })
    })
    house.server.isUp = true
    engine.tryNow()
    await eventually(async () => {
      expect(await engine.db.outbox.count()).toBe(0)
    })
  })
})

describe('streams', () => {
  it('S3: a cut in mid-answer changes no byte and starts nothing twice, on whichever route it goes on', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    const sent = await ask(engine)
    await eventually(() => {
      expect(house.node.runs.has(sent.answer)).toBe(true)
    })
    house.node.say(sent.answer, 'one ', 'two ')
    await eventually(() => {
      expect(engine.answers.live.get(sent.answer)).toMatchObject({ text: 'one two ', route: 'direct' })
    })
    house.isDirectOpen = false
    house.node.cut()
    house.node.say(sent.answer, 'three ')
    await eventually(() => {
      expect(engine.answers.live.get(sent.answer)).toMatchObject({ text: 'one two three ', route: 'relay' })
    })
    house.node.say(sent.answer, 'four')
    house.node.end(sent.answer)
    await eventually(async () => {
      expect(await answerOf(engine, sent)).toMatchObject({ body: 'one two three four' })
    })
    expect(house.node.starts).toHaveLength(1)
  })

  it('S3: an answer is followed that the node has begun, though the reply to its request was lost', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    house.node.lostReplies = 1
    const sent = await ask(engine)
    await eventually(() => {
      expect(house.node.runs.has(sent.answer)).toBe(true)
    })
    // The log tells of it before the request is sent again.
    house.server.store([house.node.change(sent.answer, MessageField.STATE, { state: 'running' })])
    house.node.say(sent.answer, 'Begun')
    await eventually(() => {
      expect(engine.answers.live.get(sent.answer)?.text).toBe('Begun')
    })
  })

  it('S3: a server that has lost its database for a moment costs an answer that moment', async () => {
    const house = new House()
    house.isDirectOpen = false
    const engine = await connected(await house.browser().login(), 'relay')
    house.relayRefusal = 'database_unavailable'
    const sent = await ask(engine)
    await eventually(() => {
      expect(house.relayRefusals).toBeGreaterThan(0)
    })
    house.relayRefusal = null
    await eventually(() => {
      expect(house.node.runs.has(sent.answer)).toBe(true)
    })
    house.node.say(sent.answer, 'All the same')
    await eventually(() => {
      expect(engine.answers.live.get(sent.answer)?.text).toBe('All the same')
    })
  })

  it('watches an answer that another device asked for while its conversation is open', async () => {
    const house = new House()
    const first = await connected(await house.browser().login())
    const second = await connected(await house.browser().login())
    const sent = await ask(first)
    second.answers.open(sent.conversation)
    await eventually(() => {
      expect(house.node.runs.has(sent.answer)).toBe(true)
    })
    house.server.store([house.node.change(sent.answer, MessageField.STATE, { state: 'running' })])
    house.node.say(sent.answer, 'For both')
    await eventually(() => {
      expect(second.answers.live.get(sent.answer)?.text).toBe('For both')
    })
    expect(house.node.starts).toHaveLength(1)
  })

  it('S4: an answer that the node no longer keeps is read from the log', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    house.node.isUp = false
    const sent = await ask(engine)
    engine.answers.open(sent.conversation)
    await eventually(async () => {
      expect(await engine.db.outbox.count()).toBe(0)
    })
    house.node.claim(sent.answer, sent.conversation)
    const running = house.node.change(sent.answer, MessageField.STATE, { state: 'running' })
    house.node.say(sent.answer, 'From the log')
    const changes = house.node.end(sent.answer)
    house.node.runs.clear()
    house.node.isUp = true
    house.server.store([running])
    house.server.store(changes)
    await eventually(async () => {
      expect(await answerOf(engine, sent)).toMatchObject({ body: 'From the log' })
    })
  })

  it('stop is told to the node at once and written into the log (Q4)', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    const sent = await ask(engine)
    await eventually(() => {
      expect(engine.answers.live.has(sent.answer)).toBe(true)
    })
    await actions.stop(engine.db, sent.answer)
    await eventually(() => {
      expect(house.node.stops).toEqual([sent.answer])
      expect(house.server.values(sent.answer).get(MessageField.STOP)).toBe(true)
    })
  })
})

it('a conversation that is deleted while its answer streams stops the node, server or not (Q6)', async () => {
  const house = new House()
  const engine = await connected(await house.browser().login())
  const sent = await ask(engine)
  await eventually(() => {
    expect(engine.answers.live.has(sent.answer)).toBe(true)
  })
  house.server.stop()
  await actions.removeConversation(engine.db, sent.conversation)
  await eventually(() => {
    expect(house.node.stops).toEqual([sent.answer])
  })
})

describe('refusals', () => {
  it('C6: clocks ahead of the server are stamped again and taken', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    house.server.aheadMs = -3_600_000
    const sent = await ask(engine)
    await eventually(async () => {
      expect(await engine.db.outbox.count()).toBe(0)
    })
    expect(house.server.values(sent.message).get(MessageField.BODY)).toBe('Hello')
  })

  it('L14: another epoch is pulled from its beginning', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    house.server.epoch = 2
    const sent = await ask(engine)
    await eventually(async () => {
      expect(await engine.db.getMeta('sync')).toMatchObject({ epoch: 2 })
      expect(await engine.db.outbox.count()).toBe(0)
    })
    expect(house.server.values(sent.message).get(MessageField.BODY)).toBe('Hello')
  })

  it('a full account is a problem in words; nothing is lost, and it goes on when there is space', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    house.server.refuse = 'quota_exceeded'
    await ask(engine)
    await eventually(() => {
      expect(engine.link).toMatchObject({ connection: 'up', problem: 'quota_exceeded' })
    })
    house.server.refuse = null
    engine.tryNow()
    await eventually(async () => {
      expect(engine.link.problem).toBeNull()
      expect(await engine.db.outbox.count()).toBe(0)
    })
  })

  it('what is refused for a moment is sent soon after, and nobody has to do anything', async () => {
    const house = new House()
    const engine = await connected(await house.browser().login())
    house.server.refuse = 'database_unavailable'
    const before = house.server.pushes
    const sent = await ask(engine)
    await vi.waitFor(() => {
      // More often than the outbox says that it has changed.
      expect(house.server.pushes).toBeGreaterThan(before + 2)
    }, WITHIN)
    expect(engine.link).toMatchObject({ connection: 'up', problem: 'database_unavailable' })
    house.server.refuse = null
    await vi.waitFor(async () => {
      expect(await engine.db.outbox.count()).toBe(0)
    }, WITHIN)
    expect(house.server.values(sent.message).get(MessageField.BODY)).toBe('Hello')
  }, 30_000)

  it.each(['ended', 'forked'])('an %s login keeps everything here and goes on after the password', async (kind) => {
    const house = new House()
    const browser = house.browser()
    const domovoi = await browser.login()
    const engine = await connected(domovoi)
    if (kind === 'ended') house.server.isLoggedIn = false
    else house.server.refuse = 'device_forked'
    const sent = await ask(engine)
    await eventually(() => {
      expect(domovoi.session.state.ended).toBe(true)
    })
    expect(await readSummaries(engine.db)).toHaveLength(1)
    house.server.refuse = null
    await domovoi.session.login({ username: 'anna', password: 'three plain words', device_name: 'Test' })
    await eventually(async () => {
      expect(await engine.db.outbox.count()).toBe(0)
    })
    expect(house.server.values(sent.message).get(MessageField.BODY)).toBe('Hello')
    expect((await engine.db.getMeta('device'))?.id).toBe(kind === 'ended' ? '0000000000000001' : '0000000000000002')
  })
})
