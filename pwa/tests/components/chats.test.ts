// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import { findChats, groupChats, markHits } from '@/components/chats/groups'
import { furnishBrowser } from './browser'
import { asked, chat, conversations, homeStatus, rearrange, status } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const now = new Date(2026, 5, 10, 12).getTime()
const day = 86_400_000
const id = (n: number) => n.toString(16).padStart(32, '0')

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
  rearrange()
})

describe('groups of chats', () => {
  it('go by day, pinned ones first', () => {
    const chats = [
      chat('a', 'old', { updatedAt: now - 40 * day }),
      chat('b', 'pinned', { updatedAt: now - 90 * day, pinned: true }),
      chat('c', 'today', { updatedAt: now - 1000 }),
      chat('d', 'yesterday', { updatedAt: now - day }),
      chat('e', 'tomorrow by a wrong clock', { updatedAt: now + 2 * day }),
      chat('f', 'five days', { updatedAt: now - 5 * day }),
    ]
    expect(groupChats(chats, now).map((group) => [group.name, group.chats.map((found) => found.id).join('')])).toEqual([
      ['pinned', 'b'],
      ['today', 'ce'],
      ['yesterday', 'd'],
      ['lastWeek', 'f'],
      ['older', 'a'],
    ])
  })

  it('are found by every word, in title or snippet, in any case', () => {
    const chats = [chat('a', 'Дача, насос', { snippet: 'реле ДАВЛЕНИЯ щёлкает' }), chat('b', 'Essay')]
    expect(findChats(chats, 'давлен насос').map((found) => found.id)).toEqual(['a'])
    expect(findChats(chats, '').length).toBe(2)
  })

  it('show where the words stand, whatever the words are', () => {
    expect(markHits('a+b (c)', '+b (')).toEqual([
      { text: 'a', isHit: false },
      { text: '+b', isHit: true },
      { text: ' ', isHit: false },
      { text: '(', isHit: true },
      { text: 'c)', isHit: false },
    ])
    expect(markHits('x-y', '-').filter((part) => part.isHit)).toHaveLength(1)
  })
})

describe('the list', () => {
  it('tells what is queued, failed and answering', async () => {
    conversations.value = [
      chat(id(1), 'Boiler', { queued: 2 }),
      chat(id(2), 'Badger', { failed: true }),
      chat(id(3), 'Rye', { answering: true }),
    ]
    const { wrapper } = await open(App, '/chats')
    const rows = wrapper.findAll('.item').map((row) => row.text())
    expect(rows[0]).toContain('2 queued')
    expect(rows[1]).toContain('Failed')
    expect(rows[2]).toContain('Answering')
  })

  it('says what is amiss on a card, and nothing where nothing is', async () => {
    const { wrapper } = await open(App, '/chats')
    expect(wrapper.find('.banner').exists()).toBe(false)
    status.value = { ...homeStatus(), kind: 'offline', queued: 2 }
    await wrapper.vm.$nextTick()
    expect(wrapper.get('.banner').text()).toBe('Offline, 2 queuedRead, search and write as usual.')
  })

  it('finds', async () => {
    conversations.value = [chat(id(1), 'Boiler'), chat(id(2), 'Badger')]
    const { wrapper } = await open(App, '/chats')
    await wrapper.get('input[type=search]').setValue('boi')
    expect(wrapper.findAll('.item')).toHaveLength(1)
    expect(wrapper.get('mark').text()).toBe('Boi')
    await wrapper.get('input[type=search]').setValue('nobody')
    expect(wrapper.text()).toContain('Nothing found')
  })

  it('deletes at once and offers Undo; renames; pins', async () => {
    conversations.value = [chat(id(1), 'Boiler')]
    const { press, choose, field, wrapper, router } = await open(App, `/chats/${id(1)}`)
    await choose('Options for Boiler', 'Pin')
    expect(asked.pin).toHaveBeenCalledWith(id(1), true)
    await choose('Options for Boiler', 'Rename')
    await vi.waitFor(() => field('Title'))
    field('Title').value = 'Boiler at night'
    field('Title').dispatchEvent(new Event('input'))
    await wrapper.get('.dialog form').trigger('submit')
    expect(asked.rename).toHaveBeenCalledWith(id(1), 'Boiler at night')
    await choose('Options for Boiler', 'Delete')
    expect(asked.removeConversation).toHaveBeenCalledWith(id(1))
    expect(router.currentRoute.value.path).toBe('/chats')
    await press('Undo')
    expect(asked.undo).toHaveBeenCalledOnce()
    expect(router.currentRoute.value.path).toBe(`/chats/${id(1)}`)
  })
})
