// @vitest-environment jsdom
import { flushPromises } from '@vue/test-utils'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import App from '@/App.vue'
import { furnishBrowser } from './browser'
import { answered, asked, chat, conversations, draft, hasEarlier, messages, rearrange, said, status } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const ID = '1'.repeat(32)
const ADDRESS = `/chats/${ID}`

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
  rearrange()
  conversations.value = [chat(ID, 'Borodinsky rye')]
})

const article = (role: string) => document.querySelector<HTMLElement>(`article[data-role=${role}]`)
const body = (role: string) => article(role)?.querySelector('[data-part=body]')?.textContent.trim()

describe('a conversation', () => {
  it('shows questions and answers, named by author and time', async () => {
    messages.value = [said('a', 'How **many**?'), answered('b', 'About *1.3*.')]
    await open(App, ADDRESS)
    await vi.waitFor(() => expect(article('assistant')?.querySelector('em')?.textContent).toBe('1.3'))
    expect(body('user')).toBe('How **many**?')
    expect(body('assistant')).toBe('About 1.3.')
    expect(article('user')?.getAttribute('aria-label')).toMatch(/^You, /)
    expect(article('assistant')?.dataset['state']).toBe('done')
  })

  it('says under an answer where it came from, and more when touched', async () => {
    messages.value = [said('a', 'Q'), answered('b', 'A')]
    const { wrapper } = await open(App, ADDRESS)
    const line = wrapper.get('.route')
    expect(line.text()).toContain('Direct · Qwen3-8B · 61 tok/s')
    await line.trigger('click')
    expect(wrapper.get('.route-facts').text()).toContain('212 tokens in 3.5 s')
  })

  it.each([
    ['queued', 'Queued'],
    ['sending', 'Sending'],
    ['accepted', 'Accepted'],
    ['failed', 'Not sent'],
  ] as const)('tells how far a message has come: %s', async (delivery, word) => {
    messages.value = [said('a', 'Q', { delivery })]
    await open(App, ADDRESS)
    expect(article('user')?.dataset['state']).toBe(delivery)
    expect(article('user')?.querySelector('.stamp')?.textContent).toContain(word)
  })

  it('gives a failed message Retry and Delete, which can be undone', async () => {
    messages.value = [said('a', 'Q', { delivery: 'failed' })]
    const { press } = await open(App, ADDRESS)
    await press('Retry')
    expect(asked.tryNow).toHaveBeenCalledOnce()
    await press('Delete')
    expect(asked.removeMessage).toHaveBeenCalledWith('a')
    await press('Undo')
    expect(asked.undo).toHaveBeenCalledOnce()
  })

  it('takes a queued message back into the composer', async () => {
    messages.value = [said('a', 'Q', { delivery: 'queued' })]
    const { press } = await open(App, ADDRESS)
    await press('Withdraw')
    expect(asked.withdraw).toHaveBeenCalledWith('a')
    expect(draft.value).toBe('taken back')
  })

  it('puts new words in the place of a queued message, and beside a sent one', async () => {
    messages.value = [said('a', 'Old', { delivery: 'queued', parent: 'p' })]
    const { press, choose, wrapper } = await open(App, ADDRESS)
    await press('Edit')
    await wrapper.get('textarea').setValue('New')
    await press('Send the new version')
    expect(asked.withdraw).toHaveBeenCalledWith('a')
    expect(asked.send).toHaveBeenCalledWith({ conversation: ID, text: 'New', parent: 'p' })

    messages.value = [said('b', 'Sent')]
    await flushPromises()
    await choose('More about this message', 'Edit')
    await wrapper.get('textarea').setValue('Better')
    await press('Send the new version')
    expect(asked.edit).toHaveBeenCalledWith('b', 'Better')
  })

  it('says why an answer failed and asks again', async () => {
    messages.value = [said('a', 'Q'), answered('b', '', { state: 'failed', code: 'model_missing' })]
    const { press, wrapper } = await open(App, ADDRESS)
    expect(wrapper.get('.trouble').text()).toContain('The model is not on the PC.')
    await press('Retry')
    expect(asked.regenerate).toHaveBeenCalledWith('b')
  })

  it('says what an answer waits for', async () => {
    messages.value = [said('a', 'Q'), answered('b', '', { state: 'queued', nodeName: null })]
    const { wrapper } = await open(App, ADDRESS)
    expect(wrapper.get('.waiting').text()).toBe('Waiting for an answer')
    status.value = { ...status.value, kind: 'asleep' }
    await flushPromises()
    expect(wrapper.get('.waiting').text()).toBe('Waiting for Study PC')
    messages.value = [said('a', 'Q'), answered('b', '', { state: 'queued', blocked: true })]
    await flushPromises()
    expect(wrapper.get('.waiting').text()).toContain('Retry that one first')
  })

  it('stops with the button and with Escape', async () => {
    messages.value = [said('a', 'Q'), answered('b', 'It is', { state: 'running' })]
    const { press } = await open(App, ADDRESS)
    await press('Stop')
    expect(asked.stop).toHaveBeenCalledWith('b')
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))
    await flushPromises()
    expect(asked.stop).toHaveBeenCalledTimes(2)
  })

  it('leads from version to version', async () => {
    messages.value = [said('a', 'Q'), answered('b', 'A', {}, ['x', 'b', 'y'])]
    const { press, wrapper } = await open(App, ADDRESS)
    expect(wrapper.get('.branch').text()).toContain('2/3')
    await press('Next version')
    expect(asked.chooseBranch).toHaveBeenCalledWith('y')
    await press('Previous version')
    expect(asked.chooseBranch).toHaveBeenCalledWith('x')
  })

  it('asks for earlier messages, where there are any', async () => {
    messages.value = [said('m', 'Q')]
    const { press, wrapper } = await open(App, ADDRESS)
    expect(wrapper.text()).not.toContain('Show earlier messages')
    hasEarlier.value = true
    await nextTick()
    await press('Show earlier messages')
    expect(asked.showEarlier).toHaveBeenCalledOnce()
  })

  it('speaks of a growing answer in the status region, never in itself', async () => {
    messages.value = [said('a', 'Q'), answered('b', '', { state: 'queued' })]
    const { wrapper } = await open(App, ADDRESS)
    const spoken = () => wrapper.findAll('.sr[role=status]').at(-1)?.text()
    messages.value = [said('a', 'Q'), answered('b', 'It', { state: 'running' })]
    await flushPromises()
    expect(spoken()).toBe('Answering')
    messages.value = [said('a', 'Q'), answered('b', 'It is so.')]
    await flushPromises()
    expect(spoken()).toBe('Answer ready, 212 tokens')
    expect(wrapper.find('.thread [aria-live]').exists()).toBe(false)
  })

  it('is said to be gone where it is', async () => {
    conversations.value = []
    const { wrapper } = await open(App, ADDRESS)
    expect(wrapper.text()).toContain('This chat is not here')
  })
})
