// @vitest-environment jsdom
import { flushPromises } from '@vue/test-utils'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import { deviceKind, deviceSystem } from '@/interface/device'
import { furnishBrowser } from './browser'
import { asked, ended, homeStatus, rearrange, status } from './house'
import { open, type Page } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
  rearrange()
})

function fill({ field }: Page, label: string, text: string): void {
  field(label).value = text
  field(label).dispatchEvent(new Event('input'))
}

const refusal = (code: string) => Object.assign(new Error(code), { code })

describe('the first evening', () => {
  it('takes the setup code out of the address', async () => {
    const { field, router } = await open(App, '/welcome?setup=KORA-7T4M')
    expect(field('Setup code').value).toBe('KORA-7T4M')
    expect(router.currentRoute.value.fullPath).toBe('/welcome')
  })

  it('makes an account and goes to the chats', async () => {
    const page = await open(App, '/welcome?setup=KORA-7T4M')
    fill(page, 'Your name', ' Vera ')
    fill(page, 'Password', 'three plain words')
    fill(page, 'This device', 'Phone')
    await page.wrapper.get('form').trigger('submit')
    await flushPromises()
    expect(asked.register).toHaveBeenCalledWith({
      ...{ username: 'Vera', password: 'three plain words', deviceName: 'Phone', setupCode: 'KORA-7T4M' },
    })
    expect(page.router.currentRoute.value.path).toBe('/chats')
  })

  it('takes an invitation instead', async () => {
    const page = await open(App, '/welcome?invitation=abc')
    expect(page.router.currentRoute.value.fullPath).toBe('/welcome')
    expect(page.field('Invitation').value).toBe('abc')
    fill(page, 'Your name', 'Ilya')
    fill(page, 'Password', 'three plain words')
    await page.wrapper.get('form').trigger('submit')
    await flushPromises()
    expect(asked.register).toHaveBeenCalledWith(expect.objectContaining({ invitation: 'abc', username: 'Ilya' }))
  })

  it('says at the field what is wrong with it', async () => {
    asked.register.mockRejectedValueOnce(refusal('password_too_common'))
    const page = await open(App, '/welcome?setup=X')
    fill(page, 'Your name', 'Vera')
    fill(page, 'Password', 'domovoi123')
    await page.wrapper.get('form').trigger('submit')
    await flushPromises()
    const password = page.field('Password')
    expect(password.getAttribute('aria-invalid')).toBe('true')
    const below = document.getElementById(password.getAttribute('aria-describedby') ?? '')
    expect(below?.textContent).toBe('Too easy to guess. Three plain words do well.')
    expect(document.activeElement).toBe(password)
  })

  it('says below what is wrong with no field', async () => {
    asked.register.mockRejectedValueOnce(refusal('offline'))
    const page = await open(App, '/welcome?setup=X')
    fill(page, 'Your name', 'Vera')
    fill(page, 'Password', 'three plain words')
    await page.wrapper.get('form').trigger('submit')
    await flushPromises()
    expect(page.wrapper.get('form [role=alert]').text()).toContain('Nothing answers.')
  })

  it('asks for what is empty before asking the server', async () => {
    const page = await open(App, '/welcome')
    await page.wrapper.get('form').trigger('submit')
    expect(page.field('Setup code').getAttribute('aria-invalid')).toBe('true')
    expect(asked.register).not.toHaveBeenCalled()
  })

  it('shows and hides the password', async () => {
    const page = await open(App, '/welcome')
    await page.press('Show password')
    expect(page.field('Password').type).toBe('text')
    await page.press('Hide password')
    expect(page.field('Password').type).toBe('password')
  })
})

describe('logging in and out', () => {
  it('logs in again where the login has ended', async () => {
    ended.value = true
    const page = await open(App, '/login')
    expect(page.wrapper.text()).toContain('Nothing here is lost.')
    expect(page.field('Your name').value).toBe('Vera')
    fill(page, 'Password', 'three plain words')
    await page.wrapper.get('form').trigger('submit')
    await flushPromises()
    expect(asked.login).toHaveBeenCalledOnce()
  })

  it('wipes only once asked, the safe way first, and says what would be lost', async () => {
    status.value = { ...homeStatus(), unsynced: 6 }
    const { press, control, wrapper, router } = await open(App, '/settings')
    await press('Wipe this device')
    expect(control('Keep it').hasAttribute('autofocus')).toBe(true)
    expect(wrapper.get('dialog').text()).toContain('6 changes have not reached the server')
    await press('Wipe')
    expect(asked.logout).toHaveBeenCalledWith({ wipe: true })
    expect(router.currentRoute.value.path).toBe('/welcome')
  })
})

describe('a device', () => {
  it.each([
    ['Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148', 'phone', 'iPhone'],
    ['Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140 Mobile Safari/537.36', 'phone', 'Android'],
    ['Mozilla/5.0 (Linux; Android 15; SM-X910) Chrome/140 Safari/537.36', 'tablet', 'Android'],
    ['Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140', 'computer', 'Windows'],
    ['Mozilla/5.0 (X11; Linux x86_64) Firefox/140', 'computer', 'Linux'],
    ['unknown', 'computer', null],
  ])('is known by its browser: %s', (agent, kind, system) => {
    expect(deviceKind(agent)).toBe(kind)
    expect(deviceSystem(agent)).toBe(system)
  })
})

describe('another password', () => {
  it('asks for both, says what follows, and what was wrong', async () => {
    asked.changePassword.mockRejectedValueOnce(refusal('login_wrong'))
    const page = await open(App, '/settings')
    await page.press('Change password')
    expect(document.body.textContent).toContain('Every other browser is disconnected')
    await page.press('Change')
    expect(asked.changePassword).not.toHaveBeenCalled()
    fill(page, 'Password now', 'three plain words')
    fill(page, 'New password', 'four other plain words')
    await page.press('Change')
    expect(asked.changePassword).toHaveBeenCalledWith('three plain words', 'four other plain words')
    expect(document.body.querySelector('dialog')?.textContent).toContain('The password you have now is another one.')
    await page.press('Change')
    expect(document.body.textContent).toContain('The password is changed.')
  })

  it('waits for a login where there is none', async () => {
    ended.value = true
    const { has } = await open(App, '/settings')
    expect(has('Change password')).toBe(false)
  })
})

describe('leaving', () => {
  it('says what has not reached the server, and what becomes of it', async () => {
    const page = await open(App, '/settings')
    status.value = { ...homeStatus(), unsynced: 2 }
    await page.press('Log out')
    expect(document.body.textContent).toContain('2 changes have not reached the server and wait here until then.')
    await page.press('Stay')
    await page.press('Wipe this device')
    expect(document.body.textContent).toContain('2 changes have not reached the server and would be lost.')
  })
})
