/** What this device holds its tokens to, while the server tells it and while it does not (K7, K8, K10, K12). */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AccountRegistry } from '../../src/local/accounts'
import type { KeySet } from '../../src/protocol/generated'
import { KeyRing } from '../../src/sync/keyRing'
import { MemoryStorage } from '../local/memoryStorage'
import { Authority } from './authority'
import { ACCOUNT, reply } from './fakeServer'

const DEVICE = 'de'.repeat(8)
const OWN = { sub: ACCOUNT, did: DEVICE }
const DAY_S = 86_400
const START_S = 1_800_000_000

describe('the key ring', () => {
  let server: Authority
  let published: KeySet | null
  let nowS: number
  let asked: number
  let registry: AccountRegistry
  let unable: number
  let ring: KeyRing

  const open = () =>
    new KeyRing({
      registry,
      accountId: ACCOUNT,
      origin: '',
      now: () => nowS * 1000,
      onUnable: () => (unable += 1),
      fetcher: (url) => {
        expect(url).toBe('/.well-known/jwks.json')
        asked += 1
        return published === null ? Promise.reject(new TypeError('fetch failed')) : Promise.resolve(reply(published))
      },
    })
  const check = async (token: string) => ring.check(token, 'sync', DEVICE)

  beforeEach(async () => {
    server = await Authority.make()
    nowS = START_S
    asked = 0
    unable = 0
    registry = new AccountRegistry(new MemoryStorage())
    published = await server.keySet(nowS)
    ring = open()
    await ring.pin()
    vi.spyOn(console, 'warn').mockReturnValue()
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('takes the own tokens of this device, and no others', async () => {
    expect(await check(await server.token(nowS, OWN))).toBe('good')
    const strangers = await Authority.make()
    const foreign = [
      await strangers.token(nowS, OWN),
      await server.token(nowS, { ...OWN, sub: 'ab'.repeat(16) }),
      await server.token(nowS, { ...OWN, did: 'ab'.repeat(8) }),
      await server.token(nowS, { ...OWN, aud: 'node:1' }),
      await server.token(nowS, { ...OWN, iss: 'domovoi-2' }),
      'node-token',
    ]
    for (const token of foreign) expect(await check(token)).toBe('foreign')
  })

  it('K5: knows them without the server, after a restart too, and a failed fetch clears nothing', async () => {
    const token = await server.token(nowS, OWN)
    published = null
    ring = open()
    nowS += 3600
    expect(await check(token)).toBe('good')
    expect(asked).toBe(1)
    expect(await check(await (await Authority.make()).token(nowS, OWN))).toBe('foreign')
    expect(asked).toBe(2)
    await ring.pin()
    await ring.keepFresh()
    expect(await check(token)).toBe('good')
  })

  it('K8: learns of a rotation by a key that it does not know, and takes no rollback of it', async () => {
    const old = await server.keySet(nowS)
    const leaked = await server.token(nowS, OWN)
    await server.rotate()
    nowS += 60
    published = await server.keySet(nowS)
    expect(await check(await server.token(nowS, OWN))).toBe('good')
    expect(await check(leaked)).toBe('foreign')
    published = old
    nowS += 60
    await ring.pin()
    expect(await check(leaked)).toBe('foreign')
    ring = open()
    nowS += 60
    expect(await check(leaked)).toBe('foreign')
    expect(await check(await server.token(nowS, OWN))).toBe('good')
  })

  it('asks no more often than every five seconds, whatever comes', async () => {
    nowS += 10
    const foreign = await (await Authority.make()).token(nowS, OWN)
    for (let count = 0; count < 3; count += 1) await check(foreign)
    expect(asked).toBe(2)
  })

  it('K7: takes another root only from a login with the password', async () => {
    const token = await server.token(nowS, OWN)
    const other = await Authority.make()
    published = await other.keySet(nowS)
    nowS += 60
    const others = await other.token(nowS, OWN)
    expect(await check(others)).toBe('foreign')
    expect(await check(token)).toBe('good')
    await ring.pin()
    expect(await check(others)).toBe('good')
    expect(await check(token)).toBe('foreign')
  })

  it('K10: a token is over at its end, and no clock that is set back makes it good again', async () => {
    const token = await server.token(nowS, OWN)
    nowS += 2 * DAY_S
    expect(await check(token)).toBe('stale')
    published = await server.keySet(nowS)
    await ring.keepFresh()
    nowS = START_S
    expect(await check(token)).toBe('stale')
    expect(await ring.now()).toBe((START_S + 2 * DAY_S) * 1000)
  })

  it('K10: past the end of its keys it takes no token', async () => {
    nowS += 31 * DAY_S
    published = null
    expect(await check(await server.token(nowS, OWN))).toBe('stale')
  })

  it('goes by the clock of the server, whatever that of this device shows, the next time too', async () => {
    nowS += 3 * DAY_S
    ring.noteServerTime(START_S * 1000)
    const token = await server.token(START_S, OWN)
    expect(await check(token)).toBe('good')
    ring = open()
    expect(await check(token)).toBe('good')
  })

  it('without Ed25519 nothing is checked, and that is said once', async () => {
    const token = await (await Authority.make()).token(nowS, OWN)
    vi.spyOn(crypto.subtle, 'importKey').mockRejectedValue(new DOMException('', 'NotSupportedError'))
    ring = open()
    expect(await check(token)).toBe('unchecked')
    expect(await check(token)).toBe('unchecked')
    expect(unable).toBe(1)
  })

  it('goes with its account', async () => {
    registry.forget(ACCOUNT)
    published = null
    nowS += 60
    expect(await check(await server.token(nowS, OWN))).toBe('unchecked')
  })
})
