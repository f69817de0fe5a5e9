// @vitest-environment jsdom
import { flushPromises } from '@vue/test-utils'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import type { Status } from '@/composables/types'
import { isSheetOpen } from '@/interface/whereabouts'
import { furnishBrowser } from './browser'
import {
  answered,
  asked,
  chat,
  conversations,
  homeNode,
  homeStatus,
  messages,
  network,
  rearrange,
  said,
  several,
  status,
} from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const ASLEEP_SINCE = new Date().setHours(14, 2, 0, 0)
const TALK = 'c'.repeat(32)
const BIG = { id: 'f'.repeat(32), name: 'Study PC', model: 'Qwen3-8B' }
const SMALL = { id: 'e'.repeat(32), name: 'VPS', model: 'SmolLM2' }

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
  rearrange()
  isSheetOpen.value = false
})

async function openSheet() {
  const page = await open(App, '/new')
  isSheetOpen.value = true
  await vi.waitFor(() => page.control('Try now'))
  return page
}

const part = (name: string) => document.querySelector<HTMLElement>(`[data-part="${name}"]`)

describe('the status in words', () => {
  it.each<[Partial<Status>, string]>([
    [{ kind: 'direct', latencyMs: 4 }, 'Direct · 4 ms'],
    [{ kind: 'relay', latencyMs: 61 }, 'Relay · 61 ms'],
    [{ kind: 'relay', latencyMs: 61, isCompatible: true }, 'Relay (compatibility) · 61 ms'],
    [{ kind: 'asleep', nodeSince: ASLEEP_SINCE, nodeDeparture: 'silent' }, 'PC asleep since 02:02 PM'],
    [{ kind: 'asleep', nodeSince: ASLEEP_SINCE, nodeDeparture: 'stopped' }, 'PC off since 02:02 PM'],
    [{ kind: 'asleep', nodeSince: ASLEEP_SINCE, nodeDeparture: 'lost' }, 'PC cut off since 02:02 PM'],
    [{ kind: 'asleep', nodeSince: ASLEEP_SINCE, nodeDeparture: 'unknown' }, 'PC away since 02:02 PM'],
    [{ kind: 'asleep', nodeDeparture: 'silent' }, 'it sleeps, or has no power or no network'],
    [{ kind: 'asleep', nodeDeparture: 'stopped' }, 'Domovoi was closed on Study PC, or the PC was shut down'],
    [{ kind: 'asleep', nodeDeparture: 'lost' }, 'The connection of Study PC broke and has not come back'],
    [{ kind: 'asleep', nodeDeparture: 'unknown' }, 'Study PC does not answer'],
    [{ kind: 'offline', queued: 2 }, 'Offline, 2 queued'],
  ])('%o', async (now, words) => {
    status.value = { ...homeStatus(), ...now }
    await openSheet()
    expect(document.body.textContent).toContain(words)
  })

  it('and each way that was tried, with why it is not taken', async () => {
    const tried = { ms: 4, isInUse: false }
    status.value = {
      ...homeStatus(),
      ways: [
        { ...tried, kind: 'lan', address: '192.168.1.34:8461', outcome: 'open', isInUse: true },
        { ...tried, kind: 'vpn', address: '100.101.7.19:8461', outcome: 'silent' },
        { ...tried, kind: 'virtual', address: '172.18.0.1:8461', outcome: 'stranger' },
        { ...tried, kind: 'name', address: 'pc.home.example:8443', outcome: 'nameless' },
        { ...tried, kind: 'relay', address: '', outcome: 'open', ms: 61 },
      ],
    }
    await openSheet()
    const rows = [...(part('ways')?.querySelectorAll('dl > div') ?? [])].map((row) => row.textContent)
    expect(rows).toEqual([
      'Network at home192.168.1.34:84614 ms, in use',
      'VPN100.101.7.19:8461nobody answers',
      'Virtual network172.18.0.1:8461somebody else answers there',
      'By its namepc.home.example:8443the name leads nowhere from here',
      'By way of the server61 ms',
    ])
  })
})

describe('local access', () => {
  it('is asked for inside a click, after an explanation', async () => {
    network.obstacle = 'unasked'
    const { press } = await openSheet()
    expect(part('local-access')?.textContent).toContain('every call is sealed')
    expect(asked.askLocalAccess).not.toHaveBeenCalled()
    await press('Allow direct answers')
    expect(asked.askLocalAccess).toHaveBeenCalledOnce()
    expect(document.body.textContent).toContain('Answers come straight from Study PC now.')
  })

  it.each([
    ['denied', 'Local access blocked — how to allow'],
    ['nameless', 'The PC’s name leads nowhere in this network — what to do'],
    ['forbidden', 'This browser keeps pages from the local network'],
  ] as const)('that is %s says how it could be had', async (obstacle, words) => {
    network.obstacle = obstacle
    await openSheet()
    expect(part('local-access')?.querySelector('summary')?.textContent).toBe(words)
  })
})

it('a PC is let on the network at home by who manages it', async () => {
  const { wrapper } = await open(App, '/house')
  await wrapper.get('.node input[role=switch]').setValue(true)
  await flushPromises()
  expect(asked.letOnLocalNetwork).toHaveBeenCalledWith(BIG.id, true)
  expect(wrapper.get<HTMLInputElement>('.node input[role=switch]').element.checked).toBe(true)
})

describe('several PCs', () => {
  it('which one answers is asked when the chosen one sleeps', async () => {
    Object.assign(several, { main: { ...BIG, isThere: false }, instead: SMALL })
    const { wrapper, press } = await open(App, '/new')
    await wrapper.get('textarea').setValue('Now?')
    await press('Send')
    expect(asked.send).not.toHaveBeenCalled()
    expect(document.body.textContent).toContain('VPS can answer now, with SmolLM2.')
    await press('Let VPS answer now')
    expect(asked.send).toHaveBeenCalledWith({ conversation: null, text: 'Now?', node: SMALL.id })
  })

  it('turning away sends nothing and keeps the words', async () => {
    Object.assign(several, { main: { ...BIG, isThere: false }, instead: SMALL })
    const { wrapper, press } = await open(App, '/new')
    await wrapper.get('textarea').setValue('Now?')
    await press('Send')
    document.querySelector('dialog')?.dispatchEvent(new Event('close'))
    await flushPromises()
    expect(asked.send).not.toHaveBeenCalled()
    expect(wrapper.get<HTMLTextAreaElement>('textarea').element.value).toBe('Now?')
  })

  it('the small one’s answer offers the big one, once that is back', async () => {
    conversations.value = [chat(TALK, 'Talk')]
    messages.value = [said('q1', 'Why?'), answered('a1', 'Because.', { node: SMALL.id, nodeName: 'VPS' })]
    several.main = { ...BIG, isThere: false }
    const { press, has } = await open(App, `/chats/${TALK}`)
    expect(has('Ask Study PC too')).toBe(false)
    several.main = { ...BIG, isThere: true }
    await flushPromises()
    await press('Ask Study PC too')
    expect(asked.regenerate).toHaveBeenCalledWith('a1', BIG.id)
  })

  it('what waits for a sleeping PC can go to another', async () => {
    conversations.value = [chat(TALK, 'Talk')]
    messages.value = [said('q1', 'Why?'), answered('a1', '', { state: 'queued' })]
    several.elsewhere = SMALL
    const { press } = await open(App, `/chats/${TALK}`)
    await press('Let VPS answer instead')
    expect(asked.regenerate).toHaveBeenCalledWith('a1', SMALL.id)
  })

  it('are settled for all devices of the account', async () => {
    several.others = [{ ...homeNode(), id: SMALL.id, name: 'VPS' }]
    const { wrapper } = await open(App, '/settings')
    const fieldOf = (label: string) => wrapper.find<HTMLSelectElement>(`select[aria-label="${label}"]`)
    expect(fieldOf('PC that answers').element.value).toBe('')
    expect(fieldOf('When it does not answer').exists()).toBe(false)
    await fieldOf('PC that answers').setValue(BIG.id)
    expect(several.settled.mainNode).toBe(BIG.id)
    await fieldOf('When it does not answer').setValue('another')
    expect(several.settled).toEqual({ mainNode: BIG.id, asleepPolicy: 'another' })
    // Another device settles it otherwise, and the page follows.
    several.settled = { mainNode: SMALL.id, asleepPolicy: 'wait' }
    await flushPromises()
    expect(fieldOf('PC that answers').element.value).toBe(SMALL.id)
    expect(fieldOf('When it does not answer').element.value).toBe('wait')
  })
})
