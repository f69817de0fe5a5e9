import 'fake-indexeddb/auto'
import { describe, expect, it, vi } from 'vitest'
import { openAccount } from '../../src/sync/session'
import { readSummaries } from '../../src/local/reads'
import * as actions from '../../src/local/actions'
import { ACCOUNT } from './fakeServer'
import { House, NODE } from './house'

const FORM = { username: 'anna', password: 'three plain words', device_name: 'Test' }

function refreshes(house: House): () => number {
  const handle = vi.spyOn(house.server, 'handle')
  return () => handle.mock.calls.filter(([path]) => path.endsWith('/refresh')).length
}

describe('tokens', () => {
  it('are renewed once for all who wait', async () => {
    const house = new House()
    const { session } = await house.browser().login()
    const count = refreshes(house)
    session.forgetToken()
    const tokens = await Promise.all([session.token(), session.token(), session.token()])
    expect(new Set(tokens).size).toBe(1)
    expect(count()).toBe(1)
  })

  it('are kept while the network is away, and asked for again later', async () => {
    const house = new House()
    const { session } = await house.browser().login()
    session.forgetToken()
    house.server.isUp = false
    await expect(session.token()).rejects.toMatchObject({ code: 'offline' })
    expect(session.state.ended).toBe(false)
    house.server.isUp = true
    await expect(session.token()).resolves.toBeTruthy()
  })

  it('end with the login', async () => {
    const house = new House()
    const { session } = await house.browser().login()
    session.forgetToken()
    house.server.isLoggedIn = false
    await expect(session.token()).rejects.toMatchObject({ code: 'login_ended' })
    expect(session.state).toMatchObject({ ended: true, account: { username: 'anna' } })
  })
})

describe('the server that was met', () => {
  it('K12: is known again by its keys; with others it gets no further without the password', async () => {
    const house = new House()
    const { session } = await house.browser().login()
    session.forgetToken()
    const check = vi.spyOn(session.keys, 'check').mockResolvedValue('foreign')
    await expect(session.token()).rejects.toMatchObject({ code: 'login_ended' })
    check.mockRestore()
    await session.login(FORM)
    await expect(session.token()).resolves.toBeTruthy()
  })
})

describe('this device', () => {
  it('opens its data without token and network', async () => {
    const house = new House()
    const browser = house.browser()
    const first = await browser.login()
    const db = first.engine.value?.db
    if (db !== undefined) await actions.send(db, { conversation: null, text: 'Hello', node: NODE, model: null })
    first.close()
    house.server.isUp = false
    const again = browser.open()
    await again.opened()
    expect(again.session.state.account?.username).toBe('anna')
    const reopened = again.engine.value?.db
    expect(reopened && (await readSummaries(reopened))).toHaveLength(1)
  })

  it('stays the same device over log-out and log-in', async () => {
    const house = new House()
    const domovoi = await house.browser().login()
    const before = await domovoi.engine.value?.db.getMeta('device')
    await domovoi.session.logout()
    expect(domovoi.session.state.account).toBeNull()
    expect(domovoi.engine.value).toBeNull()
    await domovoi.session.login(FORM)
    await domovoi.opened()
    expect(await domovoi.engine.value?.db.getMeta('device')).toEqual(before)
  })

  it('becomes a new device when its data has been removed', async () => {
    const house = new House()
    const browser = house.browser()
    const domovoi = await browser.login()
    const before = await domovoi.engine.value?.db.getMeta('device')
    await domovoi.session.logout()
    domovoi.close()
    await domovoi.forget(ACCOUNT)
    await domovoi.session.login(FORM)
    await domovoi.opened()
    expect((await domovoi.engine.value?.db.getMeta('device'))?.id).not.toBe(before?.id)
  })

  it('logs out without a network', async () => {
    const house = new House()
    const domovoi = await house.browser().login()
    house.server.isUp = false
    await domovoi.session.logout()
    expect(domovoi.session.state.account).toBeNull()
  })

  it('opens an account whose database is new and empty', async () => {
    const house = new House()
    const db = await openAccount('ff'.repeat(16), house.browser().environment)
    expect(await readSummaries(db)).toEqual([])
    db.close()
  })
})

describe('another login', () => {
  it('leaves nothing of whose it was before', async () => {
    const house = new House()
    const { session } = await house.browser().login()
    session.state.isOwner = true
    expect(session.deviceId).not.toBeNull()
    session.follow()
    expect(session.state.isOwner).toBe(false)
    expect(session.deviceId).toBeNull()
    await session.token()
    expect(session.deviceId).not.toBeNull()
  })
})
