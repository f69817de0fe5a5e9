// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import { furnishBrowser } from './browser'
import { asked, bin, rearrange } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const chat = (id: string, title: string) => ({ id: id.repeat(32), title, snippet: '', updatedAt: Date.now() })

describe('deleted chats', () => {
  beforeEach(() => {
    document.body.innerHTML = ''
    furnishBrowser()
    rearrange()
  })

  it('are reached from the settings, which say how many there are', async () => {
    bin.value = [chat('a', 'Rye'), chat('b', '')]
    const { wrapper } = await open(App, '/settings')
    const line = wrapper.get('a[href="/bin"]')
    expect(line.text()).toContain('Deleted chats')
    expect(line.text()).toContain('2')
  })

  it('come back at a touch, and end for good only after a question', async () => {
    bin.value = [chat('a', 'Rye'), chat('b', '')]
    const { press, wrapper } = await open(App, '/bin')
    expect(wrapper.text()).toContain('Untitled chat')
    await press('Restore Rye')
    expect(asked.restoreConversation).toHaveBeenCalledWith('a'.repeat(32))
    await press('Delete Rye for good')
    expect(wrapper.text() + document.body.textContent).toContain('Nobody can bring it back.')
    expect(asked.purgeConversation).not.toHaveBeenCalled()
    await press('Delete for good')
    expect(asked.purgeConversation).toHaveBeenCalledWith('a'.repeat(32))
  })

  it('say that there are none', async () => {
    const { wrapper } = await open(App, '/bin')
    expect(wrapper.text()).toContain('Nothing is deleted.')
    expect(wrapper.findAll('li')).toHaveLength(0)
  })
})
