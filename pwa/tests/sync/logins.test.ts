/** Logins on other devices: told once, on each device, whenever it can hear of them. */
import 'fake-indexeddb/auto'
import { beforeEach, describe, expect, it } from 'vitest'
import type { AccountDatabase } from '../../src/local/database'
import type { Device } from '../../src/protocol/generated'
import { Logins } from '../../src/sync/logins'
import type { Server } from '../../src/sync/server'
import { openTestDatabase, TestEnvironment } from '../local/fixtures'

describe('logins on other devices', () => {
  let db: AccountDatabase
  let devices: Device[]
  let asked: number
  let logins: Logins

  const device = (id: string, login_ms: number, more: Partial<Device> = {}): Device => ({
    ...{ device_id: id, name: id, kind: 'app', created_ms: 1, last_seen_ms: 1, current: false },
    ...{ login_ms, login_address: '203.0.113.7' },
    ...more,
  })
  const server = {
    devices: () => {
      asked += 1
      return Promise.resolve(devices)
    },
  }
  const open = async () => (await db.getMeta('logins'))?.open.map(({ deviceId, at }) => [deviceId, at])
  const hear = async () => logins.hear(Math.max(...devices.map(({ login_ms }) => login_ms ?? 0)))

  beforeEach(async () => {
    db = await openTestDatabase({ environment: new TestEnvironment() })
    devices = [device('laptop', 100, { current: true })]
    asked = 0
    logins = new Logins(db, server as unknown as Server)
    await db.putMeta('logins', { fromMs: 100, seen: {}, open: [] })
  })

  it('are told with name, time and address', async () => {
    devices.push(device('phone', 200))
    await hear()
    expect((await db.getMeta('logins'))?.open).toEqual([
      { deviceId: 'phone', name: 'phone', at: 200, address: '203.0.113.7' },
    ])
  })

  it('are told after a night away and a restart, and nobody is asked while there is nothing new', async () => {
    await hear()
    expect(asked).toBe(0)
    devices.push(device('phone', 200), device('tablet', 300))
    logins = new Logins(db, server as unknown as Server)
    await hear()
    expect(await open()).toEqual([
      ['phone', 200],
      ['tablet', 300],
    ])
  })

  it('are not those before this one, nor a PC, nor its own', async () => {
    devices = [device('old', 50), device('laptop', 400, { current: true }), device('pc', 0, { kind: 'node' })]
    await hear()
    expect(await open()).toEqual([])
  })

  it('are judged one by one, and a judgement stands until the next login of that device', async () => {
    devices.push(device('phone', 200), device('tablet', 300))
    await hear()
    await logins.settle({ deviceId: 'tablet', name: 'tablet', at: 300, address: null })
    await hear()
    expect(await open()).toEqual([['phone', 200]])
    devices[2] = device('tablet', 500)
    await hear()
    expect(await open()).toEqual([
      ['phone', 200],
      ['tablet', 500],
    ])
  })

  it('are told no more when another device has ended them', async () => {
    devices.push(device('phone', 200))
    await hear()
    devices.pop()
    await hear()
    expect(await open()).toEqual([])
  })

  it('of the time before this version are not told', async () => {
    await db.putMeta('logins', undefined as never)
    devices.push(device('phone', 200))
    await hear()
    expect(await open()).toEqual([])
    devices.push(device('tablet', 300))
    await hear()
    expect(await open()).toEqual([['tablet', 300]])
  })
})
