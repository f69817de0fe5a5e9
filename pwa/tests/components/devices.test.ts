// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import { furnishBrowser } from './browser'
import { asked, devices, rearrange } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const device = (id: string, name: string, more = {}) => ({
  ...{ id: id.repeat(16), name, isPc: false, seenAt: Date.now(), isCurrent: false },
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
