// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import App from '@/App.vue'
import { furnishBrowser } from './browser'
import { asked, key, library, keys, model, rearrange, status, step, trouble } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
  rearrange()
})

const card = (name: string) => document.querySelector<HTMLElement>(`section[aria-label="${name}"]`)
/** What an element says, with plain spaces. */
const text = (element: Element | null) => (element?.textContent ?? '').replaceAll('\u00a0', ' ')
const row = (file: string) => document.querySelector<HTMLElement>(`li[data-file="${file}"]`)

describe('a PC with another key than the one that is known', () => {
  it('is told of loudly, and accepted only by a person', async () => {
    const { press } = await open(App, '/house')
    expect(document.querySelector('.node [role=alert]')).toBeNull()
    library.isStrange = true
    await nextTick()
    expect(text(document.querySelector('.node [role=alert]'))).toContain('not the Study PC that this device knows')
    expect(asked.trustNode).not.toHaveBeenCalled()
    await press('I know it, accept')
    expect(asked.trustNode).toHaveBeenCalledWith('f'.repeat(32))
  })
})

describe('the models of a PC', () => {
  it('say size, quantisation, context and licence, and how they are', async () => {
    library.models = [
      model('Qwen3-8B', { state: 'ready', engine: 'native', loadedContext: 16_384, tokensPerSecond: 61 }),
      model('Coder', { state: 'pulling', done: 3e9, total: 4.7e9 }),
      model('Big', { fits: 'too_large' }),
      model('Broken', { state: 'failed', code: 'out_of_memory' }),
    ]
    await open(App, '/house')
    expect(text(row('Qwen3-8B'))).toContain('Q4_K_M · 5 GB · 32 k context · apache-2.0')
    expect(text(row('Qwen3-8B'))).toContain('native · 16 k context · 61 tok/s')
    expect(row('Coder')?.querySelector('progress')?.value).toBe(3e9)
    expect(text(row('Coder'))).toContain('Fetching, 3 GB of 4.7 GB')
    expect(text(row('Big'))).toContain('Too large for the memory that is free')
    expect(text(row('Broken'))).toContain('memory does not suffice')
  })

  it('are loaded and fetched, and removed only after a question', async () => {
    library.models = [model('Gemma'), model('Half', { state: 'partial', offer: offer() })]
    const { press, choose } = await open(App, '/house')
    await press('Load')
    expect(asked.load).toHaveBeenCalledWith(library.models[0])
    await press('Go on')
    expect(asked.pull).toHaveBeenCalledWith(offer(), false)
    await choose('Options for Gemma', 'Remove…')
    expect(asked.remove).not.toHaveBeenCalled()
    await press('Remove')
    expect(asked.remove).toHaveBeenCalledWith(library.models[0])
  })

  it('come from the catalogue only with their licence accepted', async () => {
    library.offers = [offer({ must_accept: true })]
    const { press, wrapper } = await open(App, '/house')
    await press('Fetch')
    await vi.waitFor(() => wrapper.get('[data-offer]'))
    const fetch = wrapper.get('[data-offer] button')
    expect(fetch.attributes('disabled')).toBeDefined()
    await wrapper.get('[data-offer] input').setValue(true)
    await fetch.trigger('click')
    expect(asked.pull).toHaveBeenCalledWith(library.offers[0], true)
  })

  it('are looked at, and left alone, by who does not manage the PC', async () => {
    library.isManaged = false
    library.models = [model('Gemma'), model('Half', { state: 'partial', offer: offer() })]
    library.offers = [offer()]
    await open(App, '/house')
    expect(text(row('Gemma'))).toContain('Q4_K_M')
    expect(text(card('Models'))).toContain('Who set up Study PC chooses its models.')
    expect(card('Models')?.querySelectorAll('button')).toHaveLength(0)
  })

  it('say why the PC can not be asked', async () => {
    library.problem = 'node_unreachable'
    await open(App, '/house')
    expect(text(card('Models'))).toContain('The PC does not answer.')
  })
})

describe('a step down', () => {
  it.each([
    ['context', '8192', 'Qwen3-8B reads less at once: 8 k of context.'],
    ['slots', '1', 'Qwen3-8B gives fewer answers at once: 1.'],
    ['cache', 'q8_0', 'Qwen3-8B keeps what it has read in packed form (q8_0).'],
    ['engine', 'llama_cpp', 'Qwen3-8B runs with llama_cpp instead of native.'],
    ['something new', 'x', 'Qwen3-8B runs with less: x.'],
  ])('of the %s is told in words, with its reason', async (what, to, words) => {
    library.steps = [step({ what, to })]
    await open(App, '/house')
    expect(text(card('What was stepped down'))).toContain(`${words} Free memory did not suffice for more.`)
  })

  it('stands in the status sheet, beside the engine and what is being loaded', async () => {
    status.value.steps = [step({ what: 'context', to: '8192' })]
    status.value.loaded = [{ name: 'Gemma', state: 'loading', done: 1, total: 4 }]
    await open(App, '/new')
    document.querySelector<HTMLElement>('header.bar h1 button')?.click()
    await vi.waitFor(() => expect(document.querySelector('dialog')).not.toBeNull())
    const sheet = document.querySelector('dialog')
    expect(text(sheet)).toContain('Qwen3-8B reads less at once')
    expect(sheet?.querySelector('progress')?.value).toBe(1)
    expect(text(sheet)).toContain('llama.cpp')
  })
})

describe('keys for other programs', () => {
  it('are made with a name, shown once, and revoked after a question', async () => {
    const { press, wrapper } = await open(App, '/house')
    await press('Make a key')
    await wrapper.get('dialog input').setValue(' Editor ')
    await wrapper.get('dialog form').trigger('submit')
    await vi.waitFor(() => expect(text(document.querySelector('dialog .secret'))).toContain('sk-secret'))
    expect(asked.makeKey).toHaveBeenCalledWith('Editor')
    await press('Done')
    expect(document.body.textContent).not.toContain('sk-secret')

    keys.list = [key('Editor')]
    await nextTick()
    await press('Revoke the key for Editor')
    expect(asked.revokeKey).not.toHaveBeenCalled()
    await press('Revoke')
    expect(asked.revokeKey).toHaveBeenCalledWith(keys.list[0])
  })
})

describe('another window in the way', () => {
  it('is named for as long as it is', async () => {
    trouble.value = 'blocked'
    const { wrapper } = await open(App, '/chats')
    await nextTick()
    expect(wrapper.text()).toContain('another window holds the older data')
    trouble.value = null
    await nextTick()
    expect(wrapper.text()).not.toContain('another window holds the older data')
    trouble.value = 'superseded'
    await nextTick()
    expect(wrapper.text()).toContain('Another window runs a newer Domovoi.')
  })
})

function offer(more: { must_accept?: boolean } = {}) {
  return {
    ...{ id: 'gemma', name: 'Gemma', file: 'gemma.gguf', size: 1, download_bytes: 1, parameters: 1, context: 1 },
    ...{ quantisation: 'Q4_0', is_chat: true, licence: 'Gemma Terms of Use', licence_url: 'https://example.org' },
    ...{ must_accept: false, for_whom: 'For trying things out.' },
    ...more,
  }
}
