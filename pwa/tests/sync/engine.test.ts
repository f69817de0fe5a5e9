/** The life of a message, seen from the app. */
import { describe, expect, it } from 'vitest'
import * as actions from '../../src/local/actions'
import { readSummaries, readThread } from '../../src/local/reads'
import { MessageField } from '../../src/protocol/generated'
import type { Domovoi } from '../../src/stores/domovoi'
import type { Engine } from '../../src/sync/engine'
import { eventually, House, NODE } from './house'

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
