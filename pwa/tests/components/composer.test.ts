// @vitest-environment jsdom
import { flushPromises } from '@vue/test-utils'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import { sendsOn } from '@/components/composer/keys'
import { furnishBrowser } from './browser'
import { asked, draft, rearrange } from './house'
import { longestAnswer } from '../../src/interface/preferences'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
  rearrange()
})

describe('the composer', () => {
  it('sends and goes to the conversation that this begins', async () => {
    const { wrapper, press, router } = await open(App, '/new')
    await wrapper.get('textarea').setValue('  How many fit a tin?\n')
    await press('Send')
    expect(asked.send).toHaveBeenCalledWith({ conversation: null, text: 'How many fit a tin?' })
    expect(router.currentRoute.value.path).toBe(`/chats/${'c'.repeat(32)}`)
    expect(draft.value).toBe('')
  })

  it('keeps the words when they could not be kept elsewhere', async () => {
    asked.send.mockRejectedValueOnce(Object.assign(new Error('full'), { code: 'quota_exceeded' }))
    const { wrapper, press } = await open(App, '/new')
    await wrapper.get('textarea').setValue('Words')
    await press('Send')
    expect(draft.value).toBe('Words')
    expect(document.body.textContent).toContain('Your space on the server is full.')
  })

  it('asks for answers no longer than is set', async () => {
    longestAnswer.value = 100
    const { wrapper, press } = await open(App, '/new')
    await wrapper.get('textarea').setValue('Briefly')
    await press('Send')
    expect(asked.send).toHaveBeenCalledWith({ conversation: null, text: 'Briefly', longest: 100 })
    longestAnswer.value = 0
  })

  it('does not send nothing', async () => {
    const { wrapper, control } = await open(App, '/new')
    expect(control('Send').hasAttribute('disabled')).toBe(true)
    await wrapper.get('textarea').setValue('   ')
    await wrapper.get('form').trigger('submit')
    expect(asked.send).not.toHaveBeenCalled()
  })

  it('sends with Enter', async () => {
    const { wrapper } = await open(App, '/new')
    await wrapper.get('textarea').setValue('Words')
    await wrapper.get('textarea').trigger('keydown', { key: 'Enter' })
    await flushPromises()
    expect(asked.send).toHaveBeenCalledOnce()
  })

  it.each([
    ['Enter', {}, false, true],
    ['Shift + Enter', { shiftKey: true }, false, false],
    ['Enter that ends a composition', { isComposing: true }, false, false],
    ['Enter that Safari sends after it', { keyCode: 229 }, false, false],
    ['Enter on a touch keyboard', {}, true, false],
    ['Enter held down', { repeat: true }, false, false],
  ])('%s', (_name, more, isCoarse, sends) => {
    expect(sendsOn(new KeyboardEvent('keydown', { key: 'Enter', ...more }), isCoarse)).toBe(sends)
  })

  it('offers ways to begin', async () => {
    const { wrapper } = await open(App, '/new')
    await wrapper.findAll('.tries button')[1]?.trigger('click')
    expect(draft.value).toContain('Read this essay like a kind teacher')
  })
})
