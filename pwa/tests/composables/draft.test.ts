import 'fake-indexeddb/auto'
import { describe, expect, it } from 'vitest'
import { nextTick, ref } from 'vue'
import { useDraft, type Id } from '../../src/composables'
import type { Domovoi } from '../../src/stores/domovoi'
import { eventually, House } from '../sync/house'
import { mounted } from './harness'

const [RYE, WHEAT] = ['aa'.repeat(16), 'bb'.repeat(16)]

function composer(domovoi: Domovoi, id: Id | null) {
  const { result, unmount } = mounted(domovoi, () => {
    const conversation = ref<Id | null>(id)
    return { conversation, ...useDraft(conversation) }
  })
  return { ...result, unmount }
}

async function kept(domovoi: Domovoi, id: Id | null): Promise<string> {
  const { text, unmount } = composer(domovoi, id)
  await eventually(() => {
    expect(text.value).not.toBe('')
  })
  unmount()
  return text.value
}

describe('drafts', () => {
  it('are kept for each conversation, and for the one that does not exist yet', async () => {
    const domovoi = await new House().browser().login()
    const { conversation, text, unmount } = composer(domovoi, RYE)
    text.value = 'half a'
    conversation.value = WHEAT
    await nextTick()
    expect(text.value).toBe('')
    text.value = 'other'
    conversation.value = null
    text.value = 'new'
    unmount()
    expect(await kept(domovoi, RYE)).toBe('half a')
    expect(await kept(domovoi, WHEAT)).toBe('other')
    expect(await kept(domovoi, null)).toBe('new')
  })

  it('leave the field at once, and the store only when they are kept elsewhere', async () => {
    const domovoi = await new House().browser().login()
    const { text, hand } = composer(domovoi, RYE)
    const draft = async () => (await domovoi.engine.value?.db.draft.get(RYE))?.text
    text.value = 'sent'
    await eventually(async () => {
      expect(await draft()).toBe('sent')
    })
    await hand(async (words) => {
      expect(words).toBe('sent')
      expect(text.value).toBe('')
      text.value = 'typed meanwhile'
      await nextTick()
      expect(await draft()).toBe('sent')
    })
    expect(text.value).toBe('typed meanwhile')
    await eventually(async () => {
      expect(await draft()).toBe('typed meanwhile')
    })
  })

  it('come back when they could not be kept elsewhere', async () => {
    const domovoi = await new House().browser().login()
    const { text, hand } = composer(domovoi, RYE)
    text.value = 'words'
    await expect(hand(() => Promise.reject(new Error('full')))).rejects.toThrow('full')
    expect(text.value).toBe('words')
  })

  it('never overwrite what is being typed', async () => {
    const domovoi = await new House().browser().login()
    const first = composer(domovoi, RYE)
    first.text.value = 'kept'
    first.unmount()
    const second = composer(domovoi, RYE)
    second.text.value = 'typed'
    await eventually(async () => {
      expect((await domovoi.engine.value?.db.draft.get(RYE))?.text).toBe('typed')
    })
    expect(second.text.value).toBe('typed')
  })
})
