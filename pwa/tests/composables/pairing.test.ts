import 'fake-indexeddb/auto'
import { describe, expect, it } from 'vitest'
import { usePairing, type PairingStage } from '../../src/composables'
import { PASSWORD } from '../sync/fakePairing'
import { eventually, House } from '../sync/house'
import { mounted } from './harness'

async function started(house = new House()) {
  const domovoi = await house.browser().login()
  const { result, unmount } = mounted(domovoi, () => usePairing())
  const becomes = async (stage: PairingStage) => {
    await eventually(() => {
      expect(result.stage.value).toBe(stage)
    })
  }
  return { house, pairing: result, becomes, unmount }
}

describe('a pairing', () => {
  it('goes from the password over a code and six digits to the end', async () => {
    const { house, pairing, becomes } = await started()
    await expect(pairing.begin('another')).rejects.toMatchObject({ code: 'login_wrong' })
    expect(pairing.stage.value).toBe('password')
    await pairing.begin(PASSWORD)
    expect(pairing.stage.value).toBe('waiting')
    expect(pairing.code.value).toBe('7KQ2-M9XD-4HTB-W3Z8')
    expect(pairing.pc.value).toBeNull()

    house.server.pairing.arrive('Study PC', '418 093')
    await becomes('comparing')
    expect(pairing.pc.value).toEqual({ name: 'Study PC', check: '418 093', isManaged: true })
    await pairing.confirm()
    expect(pairing.stage.value).toBe('paired')
    expect(house.server.pairing.current?.stage).toBe('paired')
  })

  it('knows when the code runs out by the server’s clock', async () => {
    const house = new House()
    house.server.aheadMs = 7_200_000
    const { pairing } = await started(house)
    await pairing.begin(PASSWORD)
    expect(pairing.expiresAt.value - Date.now()).toBeGreaterThan(590_000)
    expect(pairing.expiresAt.value - Date.now()).toBeLessThanOrEqual(600_000)
  })

  it('is over when the code ran out or was replaced, and begins anew', async () => {
    const { house, pairing, becomes } = await started()
    await pairing.begin(PASSWORD)
    house.server.pairing.change({ expires_ms: house.server.ms })
    await becomes('over')
    pairing.again()
    await pairing.begin(PASSWORD)
    house.server.pairing.current = null
    await becomes('over')
  })

  it('survives a server that is away for a moment', async () => {
    const { house, pairing, becomes } = await started()
    await pairing.begin(PASSWORD)
    house.server.isUp = false
    house.server.pairing.arrive('Study PC', '418 093')
    await expect(pairing.confirm()).resolves.toBeUndefined()
    house.server.isUp = true
    await becomes('comparing')
  })

  it('is refused when its person says no, or leaves', async () => {
    const { house, pairing, becomes } = await started()
    await pairing.begin(PASSWORD)
    house.server.pairing.arrive('Study PC', '418 093')
    await becomes('comparing')
    await pairing.refuse()
    expect(house.server.pairing.current?.stage).toBe('refused')

    const second = await started()
    await second.pairing.begin(PASSWORD)
    second.unmount()
    await eventually(() => {
      expect(second.house.server.pairing.current?.stage).toBe('refused')
    })
  })
})
