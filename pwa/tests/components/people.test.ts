// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from 'vitest'
import App from '@/App.vue'
import { furnishBrowser } from './browser'
import { asked, invitations, rearrange } from './house'
import { open } from './page'

vi.mock('@/composables', async () => (await import('./house')).composables)

const DAY_MS = 86_400_000
const invitation = (stage: 'open' | 'used' | 'expired') => ({ id: stage, stage, expiresAt: Date.now() + 6.5 * DAY_MS })

describe('people', () => {
  beforeEach(() => {
    document.body.innerHTML = ''
    furnishBrowser()
    rearrange()
    invitations.value = [invitation('open'), invitation('used'), invitation('expired')]
  })

  it('are invited by the owner alone', async () => {
    invitations.value = null
    const { has } = await open(App, '/settings')
    expect(has('Invite someone')).toBe(false)
  })

  it('get a link that is shown once', async () => {
    const { press } = await open(App, '/settings')
    await press('Invite someone')
    expect(document.body.textContent).toContain(`${location.origin}/welcome?invitation=K0RA-7T4M`)
    await press('Done')
    expect(document.body.textContent).not.toContain('K0RA-7T4M')
  })

  it('say what became of each, and take back what is open', async () => {
    const { wrapper, press } = await open(App, '/settings')
    const said = wrapper.findAll('[data-invitation] small').map((line) => line.text())
    expect(said).toEqual(['runs out in 6 days', 'used', 'too old'])
    await press('Take back')
    expect(asked.takeInvitationBack).toHaveBeenCalledWith(invitations.value?.[0])
  })
})
