import 'fake-indexeddb/auto'
import { describe, expect, it } from 'vitest'
import { useActions, useSession, useStatus, type StatusKind } from '../../src/composables'
import { eventually, House } from '../sync/house'
import { mounted } from './harness'

async function watched(house: House) {
  const domovoi = await house.browser().login()
  const { result } = mounted(domovoi, () => ({ status: useStatus(), actions: useActions(), session: useSession() }))
  const becomes = async (kind: StatusKind) => {
    await eventually(() => {
      expect(result.status.value.kind).toBe(kind)
    })
  }
  return { ...result, becomes }
}

describe('the status line', () => {
  it('follows what answers: direct, server down, offline, asleep, relay', async () => {
    const house = new House()
    const { status, actions, becomes } = await watched(house)
    await becomes('direct')
    expect(status.value).toMatchObject({ nodeName: 'Study PC', nodeAwake: true, model: 'small', problem: null })
    expect(status.value.latencyMs).toBeGreaterThanOrEqual(0)

    house.server.stop()
    await becomes('server_down')
    house.node.stop()
    await actions.tryNow()
    await becomes('offline')
    expect(status.value).toMatchObject({ latencyMs: null, nodeAwake: false })
    expect(status.value.nextTryAt).toBeGreaterThan(0)

    house.server.nodes = [{ ...house.describeNode(false), departure: 'stopped' }]
    house.server.isUp = true
    await actions.tryNow()
    await becomes('asleep')
    await eventually(() => {
      expect(status.value.nodeDeparture).toBe('stopped')
    })

    house.isDirectOpen = false
    house.node.isUp = true
    house.server.setNodes([house.describeNode(true)])
    await becomes('relay')
  })

  it('says when nothing is paired, and refuses to send into the void', async () => {
    const house = new House()
    house.server.nodes = []
    const { actions, becomes } = await watched(house)
    await becomes('no_node')
    await expect(actions.send({ conversation: null, text: 'Hello' })).rejects.toMatchObject({ code: 'node_unknown' })
  })

  it('counts what waits here', async () => {
    const house = new House()
    const { status, actions, becomes } = await watched(house)
    await becomes('direct')
    house.server.stop()
    house.node.stop()
    await actions.tryNow()
    await actions.send({ conversation: null, text: 'One' })
    await actions.send({ conversation: null, text: 'Two' })
    await eventually(() => {
      expect(status.value).toMatchObject({ kind: 'offline', queued: 2, unsynced: 12 })
    })
    house.server.isUp = house.node.isUp = true
    await actions.tryNow()
    await eventually(() => {
      expect(status.value).toMatchObject({ kind: 'direct', queued: 0, unsynced: 0 })
      expect(status.value.inStepAt).toBeGreaterThan(0)
    })
  })
})

describe('the session', () => {
  it('shows an ended login as a problem and goes on after the password', async () => {
    const house = new House()
    const { status, session, actions, becomes } = await watched(house)
    await becomes('direct')
    house.server.isLoggedIn = false
    await actions.send({ conversation: null, text: 'Hello' })
    await eventually(() => {
      expect(session.ended.value).toBe(true)
      expect(status.value.problem).toBe('login_ended')
    })
    await session.login({ username: 'anna', password: 'three plain words', deviceName: 'Test' })
    await eventually(() => {
      expect(session.ended.value).toBe(false)
      expect(status.value).toMatchObject({ problem: null, unsynced: 0 })
    })
  })

  it('wipes this device on request', async () => {
    const house = new House()
    const browser = house.browser()
    const domovoi = await browser.login()
    const { result } = mounted(domovoi, () => ({ session: useSession(), actions: useActions() }))
    await result.actions.send({ conversation: null, text: 'Secret' })
    await result.session.logout({ wipe: true })
    expect(result.session.known.value).toBe(false)
    const databases = await browser.environment.indexedDB.databases()
    expect(databases).toEqual([])
    expect(browser.storage.length).toBeLessThanOrEqual(1)
    await expect(result.actions.send({ conversation: null, text: 'x' })).rejects.toMatchObject({
      code: 'token_missing',
    })
  })
})
