import 'fake-indexeddb/auto'
import { expect, it, describe } from 'vitest'
import { computed, ref } from 'vue'
import { useActions, useConversations, useThread, type Id } from '../../src/composables'
import { MessageField } from '../../src/protocol/generated'
import type { Domovoi } from '../../src/stores/domovoi'
import { eventually, House } from '../sync/house'
import { mounted } from './harness'

/** A thread on the screen, with the actions beside it. */
function screen(domovoi: Domovoi) {
  return mounted(domovoi, () => {
    const conversation = ref<Id | null>(null)
    const thread = useThread(conversation)
    const texts = computed(() => thread.messages.value.map((message) => message.text))
    const last = computed(() => thread.messages.value.at(-1))
    return { conversation, thread, texts, last, actions: useActions(), ...useConversations() }
  }).result
}

async function asked(house: House, text = 'Hello') {
  const view = screen(await house.browser().login())
  view.conversation.value = await view.actions.send({ conversation: null, text })
  await eventually(() => {
    expect(view.texts.value).toEqual([text, ''])
  })
  const answer = view.last.value?.id ?? ''
  return { view, answer }
}

describe('an answer', () => {
  it('grows, ends, and tells where it came from', async () => {
    const house = new House()
    const { view, answer } = await asked(house)
    await eventually(() => {
      expect(house.node.runs.has(answer)).toBe(true)
    })
    house.node.emit(answer, { kind: 'started', model: 'small', engine: 'llama_cpp', dropped_messages: 2 })
    house.node.say(answer, 'Good ', 'evening')
    await eventually(() => {
      expect(view.last.value).toMatchObject({ text: 'Good evening', answer: { state: 'running', model: 'small' } })
      expect(view.thread.answering.value).toBe(true)
      expect(view.conversations.value).toMatchObject([{ answering: true }])
    })
    house.node.end(answer)
    await eventually(() => {
      expect(view.last.value?.answer).toMatchObject({
        state: 'done',
        route: 'direct',
        nodeName: 'Study PC',
        tokens: 21,
        tokensPerSecond: 20,
        firstTokenMs: 100,
        droppedMessages: 2,
      })
      expect(view.thread.answering.value).toBe(false)
    })
  })

  it('renders nothing anew but itself while it grows', async () => {
    const house = new House()
    const { view, answer } = await asked(house)
    await eventually(() => {
      expect(house.node.runs.has(answer)).toBe(true)
    })
    // Until acknowledgement and arrival are written, the stored thread changes as well.
    await eventually(async () => {
      const question = view.thread.messages.value[0]
      const before = view.last.value
      house.node.say(answer, 'more ')
      await eventually(() => {
        expect(view.last.value?.text).not.toBe(before?.text)
      })
      expect(view.thread.messages.value[0]).toBe(question)
      expect(view.last.value).not.toBe(before)
    })
  })

  it('Q8: shows as interrupted while its node has been gone for a minute', async () => {
    const house = new House()
    const { view, answer } = await asked(house)
    await eventually(() => {
      expect(house.node.runs.has(answer)).toBe(true)
    })
    house.node.emit(answer, { kind: 'started', model: 'small', engine: 'llama_cpp' })
    house.node.say(answer, 'Good')
    await eventually(() => {
      expect(view.last.value?.text).toBe('Good')
    })
    house.node.stop()
    house.server.setNodes([{ ...house.describeNode(false), since_ms: Date.now() - 120_000 }])
    await eventually(() => {
      expect(view.last.value).toMatchObject({ text: 'Good', answer: { state: 'interrupted' } })
    })
  })

  it('Q3: waits, blocked, after one that failed', async () => {
    const house = new House()
    const { view, answer } = await asked(house)
    await eventually(() => {
      expect(house.node.runs.has(answer)).toBe(true)
    })
    house.node.end(answer, 'failed')
    await view.actions.send({ conversation: view.conversation.value, text: 'And now?' })
    await eventually(() => {
      expect(view.last.value?.answer).toMatchObject({ state: 'queued', blocked: true })
    })
  })
})

describe('delivery', () => {
  it('goes from queued to accepted', async () => {
    const house = new House()
    const domovoi = await house.browser().login()
    const view = screen(domovoi)
    await eventually(() => {
      expect(domovoi.engine.value?.link.connection).toBe('up')
    })
    house.server.stop()
    house.node.stop()
    view.conversation.value = await view.actions.send({ conversation: null, text: 'Hello' })
    await eventually(() => {
      expect(view.thread.messages.value[0]?.delivery).toBe('queued')
      expect(view.conversations.value).toMatchObject([{ title: 'Hello', queued: 1 }])
    })
    house.server.isUp = true
    await view.actions.tryNow()
    await eventually(() => {
      expect(view.thread.messages.value[0]?.delivery).toBe('accepted')
      expect(view.conversations.value).toMatchObject([{ queued: 0 }])
    })
  })

  it('is accepted once a node has the request, server or not', async () => {
    const house = new House()
    const { view, answer } = await asked(house, 'Before')
    await eventually(() => {
      expect(house.node.runs.has(answer)).toBe(true)
    })
    house.node.end(answer)
    house.server.stop()
    await view.actions.send({ conversation: view.conversation.value, text: 'After' })
    await eventually(() => {
      expect(view.thread.messages.value[2]).toMatchObject({ text: 'After', delivery: 'accepted' })
    })
  })

  it('says failed when the server will never take it', async () => {
    const house = new House()
    house.server.refuse = 'body_too_large'
    house.isDirectOpen = false
    house.node.isUp = false
    const { view } = await asked(house)
    await eventually(() => {
      expect(view.thread.messages.value[0]?.delivery).toBe('failed')
    })
  })

  it('is of this device’s own messages alone', async () => {
    const house = new House()
    const { view } = await asked(house)
    const other = screen(await house.browser().login())
    await eventually(() => {
      expect(other.conversations.value).toHaveLength(1)
    })
    other.conversation.value = view.conversation.value
    await eventually(() => {
      expect(other.thread.messages.value[0]).toMatchObject({ text: 'Hello', delivery: null })
    })
  })
})

describe('branches', () => {
  it('an edit shows the new branch with its siblings; choosing goes back', async () => {
    const house = new House()
    const { view } = await asked(house)
    const first = view.thread.messages.value[0]?.id ?? ''
    await view.actions.edit(first, 'Good evening')
    await eventually(() => {
      expect(view.texts.value[0]).toBe('Good evening')
      expect(view.thread.messages.value[0]?.siblings).toHaveLength(2)
    })
    await view.actions.chooseBranch(first)
    await eventually(() => {
      expect(view.texts.value[0]).toBe('Hello')
    })
  })

  it('one chosen on another device does not move an open view, and what is written below it appears', async () => {
    const house = new House()
    const { view, answer } = await asked(house)
    await eventually(() => {
      expect(house.node.runs.has(answer)).toBe(true)
    })
    house.node.say(answer, 'Hi')
    const done = house.node.end(answer)
    house.server.store(done)
    const other = screen(await house.browser().login())
    other.conversation.value = view.conversation.value
    await eventually(() => {
      expect(other.texts.value).toEqual(['Hello', 'Hi'])
    })
    await other.actions.edit(other.thread.messages.value[0]?.id ?? '', 'Elsewhere')
    await eventually(() => {
      expect(view.thread.messages.value[0]?.siblings).toHaveLength(2)
    })
    expect(view.texts.value).toEqual(['Hello', 'Hi'])
    await other.actions.send({ conversation: other.conversation.value, text: 'Below', parent: answer })
    await eventually(() => {
      expect(view.texts.value.slice(0, 3)).toEqual(['Hello', 'Hi', 'Below'])
    })
  })
})

it('a conversation deleted elsewhere leaves the screen empty, and undo brings it back', async () => {
  const house = new House()
  const { view } = await asked(house)
  const other = screen(await house.browser().login())
  await eventually(() => {
    expect(other.conversations.value).toHaveLength(1)
  })
  const undo = await other.actions.removeConversation(view.conversation.value ?? '')
  await eventually(() => {
    expect(view.thread.conversation.value).toBeNull()
    expect(view.texts.value).toEqual([])
    expect(view.conversations.value).toEqual([])
  })
  await undo()
  await eventually(() => {
    expect(view.texts.value).toEqual(['Hello', ''])
    expect(view.thread.conversation.value?.title).toBe('Hello')
  })
})

it('two devices that write apart show the same after they meet', async () => {
  const house = new House()
  const { view } = await asked(house)
  const other = screen(await house.browser().login())
  await eventually(() => {
    expect(other.conversations.value).toHaveLength(1)
  })
  const id = (other.conversation.value = view.conversation.value) ?? ''
  await eventually(() => {
    expect(other.texts.value).toHaveLength(2)
  })
  house.server.stop()
  house.node.stop()
  const first = view.thread.messages.value[0]?.id ?? ''
  await view.actions.edit(first, 'Edit one')
  await view.actions.rename(id, 'One')
  await other.actions.edit(first, 'Edit two')
  await other.actions.rename(id, 'Two')
  await other.actions.pin(id, true)
  house.server.isUp = true
  await Promise.all([view.actions.tryNow(), other.actions.tryNow()])
  await eventually(() => {
    // What each believes of the server's time decides which name is the later one.
    expect(view.conversations.value).toMatchObject([{ pinned: true }])
    expect(['One', 'Two']).toContain(view.conversations.value[0]?.title)
    expect(other.conversations.value).toEqual(view.conversations.value)
    expect(view.thread.messages.value[0]?.siblings).toHaveLength(3)
    expect(other.thread.messages.value[0]?.siblings).toEqual(view.thread.messages.value[0]?.siblings)
  })
  expect(house.server.values(first).get(MessageField.BODY)).toBe('Hello')
})

describe('a long conversation', () => {
  it('opens with its last twenty messages and brings earlier ones when asked', async () => {
    const house = new House()
    const view = screen(await house.browser().login())
    let conversation: Id | null = null
    for (let number = 0; number < 20; number += 1)
      conversation = await view.actions.send({ conversation, text: String(number) })
    view.conversation.value = conversation
    await eventually(() => {
      expect(view.texts.value).toHaveLength(20)
    })
    expect(view.texts.value[0]).toBe('10')
    expect(view.thread.hasEarlier.value).toBe(true)
    view.thread.showEarlier()
    expect(view.texts.value).toHaveLength(40)
    expect(view.thread.hasEarlier.value).toBe(false)
    view.conversation.value = null
    view.conversation.value = conversation
    await eventually(() => {
      expect(view.texts.value).toHaveLength(20)
    })
  })
})

describe('an answer that comes while nobody looks', () => {
  it('is unread until its conversation has been on the screen', async () => {
    const house = new House()
    const { view, answer } = await asked(house)
    const conversation = view.conversation.value
    view.conversation.value = null
    await eventually(() => {
      expect(house.node.runs.has(answer)).toBe(true)
    })
    house.node.say(answer, 'Good evening')
    house.node.end(answer)
    await eventually(() => {
      expect(view.conversations.value).toMatchObject([{ unread: true }])
    })
    view.conversation.value = conversation
    await eventually(() => {
      expect(view.conversations.value).toMatchObject([{ unread: false }])
    })
  })
})
