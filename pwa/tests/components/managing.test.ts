// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { ProblemError } from '../../src/protocol/errors'
import App from '@/App.vue'
import { furnishBrowser } from './browser'
import { asked, people, rearrange } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const person = (name: string, more = {}) => ({ id: name, name, isManager: false, isYou: false, ...more })
const MENU = 'Options for Study PC'
const dialog = () => document.body.querySelector('dialog')?.textContent ?? ''

describe('who uses a PC', () => {
  beforeEach(() => {
    document.body.innerHTML = ''
    furnishBrowser()
    rearrange()
  })

  it('is handed over with the password, after it is said what that means', async () => {
    people.value = [person('Vera', { isManager: true, isYou: true }), person('Ilya')]
    const { choose, press, field } = await open(App, '/house')
    await choose(MENU, 'Who uses it')
    await press('Let Ilya manage it')
    expect(dialog()).toContain('Ilya then pulls, loads and removes models on Study PC')
    expect(asked.makeManager).not.toHaveBeenCalled()
    const input = field('Password')
    input.value = 'three plain words'
    input.dispatchEvent(new Event('input'))
    await press('Confirm')
    expect(asked.makeManager).toHaveBeenCalledWith(people.value[1], 'three plain words')
  })

  it('says so when the password is another one', async () => {
    people.value = [person('Vera', { isManager: true, isYou: true }), person('Ilya')]
    asked.makeManager.mockRejectedValueOnce(new ProblemError('login_wrong'))
    const { choose, press } = await open(App, '/house')
    await choose(MENU, 'Who uses it')
    await press('Let Ilya manage it')
    await press('Confirm')
    expect(dialog()).toContain('Ilya then pulls')
  })

  it('ends what another may do there', async () => {
    people.value = [person('Vera', { isManager: true, isYou: true }), person('Ilya')]
    const { choose, press } = await open(App, '/house')
    await choose(MENU, 'Who uses it')
    await press('End Ilya’s use')
    expect(asked.endUse).toHaveBeenCalledWith(people.value[1])
  })

  it('gives who only uses it nothing to press, unless nobody manages it', async () => {
    people.value = [person('Vera', { isManager: true }), person('Ilya', { isYou: true })]
    const { choose, has, press } = await open(App, '/house')
    await choose(MENU, 'Who uses it')
    expect(has('Let Vera manage it')).toBe(false)
    expect(has('Manage it')).toBe(false)
    await press('Done')
    people.value = [person('Ilya', { isYou: true })]
    await choose(MENU, 'Who uses it')
    expect(dialog()).toContain('Nobody manages this PC.')
    await press('Manage it')
    expect(dialog()).toContain('You then pull')
  })
})
