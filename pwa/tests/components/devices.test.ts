// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import App from '@/App.vue'
import { furnishBrowser } from './browser'
import { asked, canVerify, devices, logins, rearrange } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const device = (id: string, name: string, more = {}) => ({
  ...{ id: id.repeat(16), name, isPc: false, seenAt: Date.now(), address: '203.0.113.7', isCurrent: false },
  ...more,
})

describe('devices', () => {
  beforeEach(() => {
    document.body.innerHTML = ''
    furnishBrowser()
    rearrange()
    devices.value = [
      device('a', 'Laptop', { isCurrent: true }),
      device('b', 'Phone'),
      device('c', 'PC', { isPc: true }),
    ]
  })

  it('say which is this one, and which is a PC', async () => {
    const { wrapper } = await open(App, '/settings')
    const lines = wrapper.findAll('[data-device]').map((line) => line.text())
    expect(lines[0]).toContain('This device')
    expect(lines[1]).toContain('last seen')
    expect(lines[1]).toContain('203.0.113.7')
    expect(lines[2]).toContain('PC that answers')
  })

  it('are renamed', async () => {
    const { choose, press } = await open(App, '/settings')
    await choose('Options for Phone', 'Rename')
    const input = document.body.querySelector<HTMLInputElement>('dialog input')
    if (input === null) throw new Error('no field')
    input.value = 'Old phone'
    input.dispatchEvent(new Event('input'))
    await press('Save')
    expect(asked.renameDevice).toHaveBeenCalledWith(devices.value?.[1], 'Old phone')
  })

  it('are disconnected only after a question, and never this one', async () => {
    const { choose, press, has } = await open(App, '/settings')
    await choose('Options for Phone', 'Disconnect')
    expect(asked.disconnect).not.toHaveBeenCalled()
    await press('Disconnect')
    expect(asked.disconnect).toHaveBeenCalledWith(devices.value?.[1])
    await expect(choose('Options for Laptop', 'Disconnect')).rejects.toThrow()
    expect(has('Options for Laptop')).toBe(true)
  })
})

describe('a login on another device', () => {
  const login = (id: string, name: string, address: string | null = '203.0.113.7') => ({
    ...{ deviceId: id.repeat(16), name, at: Date.now(), address },
  })
  const told = () => document.body.querySelector('[data-login]')?.textContent ?? null

  beforeEach(() => {
    document.body.innerHTML = ''
    furnishBrowser()
    rearrange()
  })

  it('is told on every page until somebody says whose it was', async () => {
    logins.value = [login('b', 'Vera’s phone'), login('c', 'A tablet', null)]
    const { press, router } = await open(App, '/chats')
    expect(told()).toContain('“Vera’s phone” logged in to your account')
    expect(told()).toContain('from 203.0.113.7')
    await router.push('/settings')
    expect(told()).toContain('Vera’s phone')
    await press('That was me')
    expect(asked.wasMine).toHaveBeenCalledWith(logins.value[0])
    expect(asked.wasNotMine).not.toHaveBeenCalled()
    logins.value = logins.value.slice(1)
    await nextTick()
    expect(told()).toContain('A tablet')
    expect(told()).not.toContain('from')
    logins.value = []
    await nextTick()
    expect(told()).toBeNull()
  })

  it('of somebody else is ended, and then the password is changed', async () => {
    logins.value = [login('b', 'Some phone')]
    const { press } = await open(App, '/chats')
    await press('That was not me')
    expect(asked.wasNotMine).toHaveBeenCalledWith(logins.value[0])
    await vi.waitFor(() => {
      expect(document.body.querySelector('dialog')?.textContent).toContain('Change password')
    })
  })

  it('that can not be ended just now stays told', async () => {
    logins.value = [login('b', 'Some phone')]
    asked.wasNotMine.mockRejectedValueOnce(new Error('offline'))
    const { press } = await open(App, '/chats')
    await press('That was not me')
    expect(document.body.querySelector('dialog')).toBeNull()
    expect(told()).toContain('Some phone')
  })
})

describe('a browser that can check no signatures', () => {
  it.each([
    [true, false],
    [false, true],
  ])('says so: %s', async (able, isSaid) => {
    document.body.innerHTML = ''
    furnishBrowser()
    rearrange()
    canVerify.value = able
    const { wrapper } = await open(App, '/settings')
    expect(wrapper.text().includes('can’t check who has signed')).toBe(isSaid)
  })
})
