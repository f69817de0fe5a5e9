// @vitest-environment jsdom
import { flushPromises } from '@vue/test-utils'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import { announcement } from '@/interface/announcer'
import { furnishBrowser } from './browser'
import { asked, pairing, rearrange } from './house'
import { open, type Page } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
  rearrange()
})

const dialog = () => document.querySelector('dialog')
const part = (name: string) => document.querySelector(`[data-part="${name}"]`)?.textContent
const pc = { name: 'Study PC', check: '418 093', isManaged: true }

async function adding(): Promise<Page> {
  const page = await open(App, '/house')
  await page.press('Add a PC')
  await vi.waitFor(() => page.field('Password'))
  return page
}

async function type(input: HTMLInputElement, text: string): Promise<void> {
  input.value = text
  input.dispatchEvent(new Event('input'))
  await flushPromises()
}

async function waiting(): Promise<Page> {
  const page = await adding()
  await type(page.field('Password'), 'three plain words')
  await page.press('Make a code')
  return page
}

async function comparing(more: Partial<typeof pc> = {}): Promise<Page> {
  const page = await waiting()
  Object.assign(pairing, { stage: 'comparing', pc: { ...pc, ...more } })
  await flushPromises()
  return page
}

describe('adding a PC', () => {
  it('asks for the password first', async () => {
    const { press, field } = await adding()
    await press('Make a code')
    expect(asked.beginPairing).not.toHaveBeenCalled()
    expect(dialog()?.textContent).toContain('This is still empty.')
    asked.beginPairing.mockRejectedValueOnce(Object.assign(new Error('wrong'), { code: 'login_wrong' }))
    await type(field('Password'), 'another')
    await press('Make a code')
    expect(asked.beginPairing).toHaveBeenCalledWith('another')
    expect(dialog()?.textContent).toContain('That is not your password.')
  })

  it('shows the command, the code alone, and both as a picture', async () => {
    await waiting()
    expect(part('command')).toBe('domovoi node pair https://home.example.org 7KQ2-M9XD-4HTB-W3Z8')
    expect(part('code')).toBe('7KQ2-M9XD-4HTB-W3Z8')
    expect(document.querySelector('.qr svg')?.getAttribute('aria-label')).toBe('The command as a QR code')
    expect(document.querySelector('.qr path')?.getAttribute('d')).toMatch(/^M4 4h1v1h-1z/)
    expect(dialog()?.textContent).toContain('Good for 10 minutes and five tries.')
  })

  it('shows six digits and says what is granted', async () => {
    const { press } = await comparing()
    expect(document.querySelector('.six')?.getAttribute('aria-label')).toBe('4 1 8 0 9 3')
    expect(announcement.value).toBe('Study PC is there. Compare the six digits: 4 1 8 0 9 3.')
    expect(dialog()?.textContent).toContain('Study PC may read your chats and answer in them.')
    expect(dialog()?.textContent).toContain('You manage it')
    await press('They match, pair')
    expect(asked.confirmPairing).toHaveBeenCalledOnce()
    expect(document.body.textContent).toContain('Study PC is paired.')
    expect(dialog()).toBeNull()
  })

  it('says so where somebody else manages the PC', async () => {
    await comparing({ isManaged: false })
    expect(dialog()?.textContent).toContain('You may ask its models.')
    expect(dialog()?.textContent).not.toContain('You manage it')
  })

  it('stops where the digits differ, and can begin anew', async () => {
    const { press, field } = await comparing()
    await press('They differ, stop')
    expect(asked.refusePairing).toHaveBeenCalledOnce()
    expect(asked.confirmPairing).not.toHaveBeenCalled()
    expect(dialog()?.textContent).toContain('This code is over')
    await press('Take a new one')
    expect(field('Password').value).toBe('')
  })

  it('is told what went wrong', async () => {
    const { press } = await comparing()
    asked.confirmPairing.mockRejectedValueOnce(Object.assign(new Error('gone'), { code: 'pairing_check_wrong' }))
    await press('They match, pair')
    expect(document.body.textContent).toContain('No PC with these six digits waits any more.')
    expect(document.querySelector('.six')).not.toBeNull()
  })
})

describe('a PC', () => {
  it('is removed only after a question', async () => {
    const { choose, press } = await open(App, '/house')
    await choose('Options for Study PC', 'Remove this PC')
    expect(asked.removeNode).not.toHaveBeenCalled()
    expect(dialog()?.textContent).toContain('Your chats stay.')
    await press('Remove')
    expect(asked.removeNode).toHaveBeenCalledWith('f'.repeat(32))
    expect(document.body.textContent).toContain('Study PC is removed.')
  })
})
