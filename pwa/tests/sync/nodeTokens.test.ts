/** Tokens for nodes, while the server is there and while it is away (K11). */
import 'fake-indexeddb/auto'
import { decode } from '@msgpack/msgpack'
import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import type { AccountDatabase, NodeToken } from '../../src/local/database'
import { makeKey, renewalMessage, type OwnKey } from '../../src/local/deviceKey'
import { toHex } from '../../src/protocol/bytes'
import { ProblemError } from '../../src/protocol/errors'
import type { Renewal } from '../../src/protocol/generated'
import { base64url } from '../../src/protocol/jws'
import type { Verdict } from '../../src/sync/keyRing'
import { NodeTokens } from '../../src/sync/nodeTokens'
import type { Route } from '../../src/sync/router'
import type { Server } from '../../src/sync/server'
import { DEVICE, NODE, openTestDatabase, TestEnvironment } from '../local/fixtures'
import { makeSigningKey, sign, type SigningKey } from './authority'
import { problem, reply } from './fakeServer'

const DAY_MS = 86_400_000
const DIRECT = { nodeId: NODE, kind: 'direct', base: 'http://localhost:8461' } as Route
const RELAY = { nodeId: NODE, kind: 'relay', base: `/relay/${NODE}` } as Route
const CHALLENGE = new Uint8Array(40).fill(7)

describe('tokens for a node', () => {
  const environment = new TestEnvironment()
  let db: AccountDatabase
  let key: OwnKey
  let tokens: NodeTokens
  let serverSays: string | null
  let nodeRefuses: string | null
  let renewals: Renewal[]
  let verdict: Verdict
  /** null on the node's own machine, where calls are not sealed and no key is met. */
  let nodeKey: SigningKey | null
  let nodeGives: () => Promise<string>

  beforeEach(async () => {
    db = await openTestDatabase({ environment })
    key = await known()
    await db.putMeta('deviceKey', key)
    serverSays = null
    nodeRefuses = null
    renewals = []
    verdict = 'good'
    let given = 0
    const server = {
      keys: { check: () => Promise.resolve(verdict), now: () => Promise.resolve(environment.ms) },
      nodeToken: () => {
        if (serverSays !== null) return Promise.reject(new ProblemError(serverSays as 'offline'))
        given += 1
        return Promise.resolve({
          access_token: `server ${String(given)}`,
          expires_at: (environment.ms + DAY_MS) / 1000,
        })
      },
    }
    const fetcher = async (input: RequestInfo | URL, init: RequestInit = {}) => {
      await Promise.resolve()
      if (input === `${DIRECT.base}/v1/renewal/challenge`) return reply({ challenge: CHALLENGE })
      expect(input).toBe(`${DIRECT.base}/v1/renewal`)
      renewals.push(decode(init.body as Uint8Array) as Renewal)
      if (nodeRefuses !== null) return problem(401, nodeRefuses)
      return reply({ access_token: await nodeGives(), expires_at: (environment.ms + DAY_MS) / 1000 })
    }
    nodeKey = null
    nodeGives = () => Promise.resolve('from the node')
    const calls = { fetcher: () => fetcher, nodeKey: () => nodeKey?.raw && base64url(nodeKey.raw) }
    tokens = new NodeTokens(db, server as unknown as Server, calls)
  })

  it('come from the server, and are renewed there half a day before they end', async () => {
    expect(await tokens.token(DIRECT)).toBe('server 1')
    expect(await tokens.token(RELAY)).toBe('server 1')
    environment.ms += DAY_MS / 2 + 1
    expect(await tokens.token(DIRECT)).toBe('server 2')
  })

  it('last for their day while the server is away; then the node renews what the server gave, each day', async () => {
    await tokens.token(DIRECT)
    serverSays = 'offline'
    environment.ms += DAY_MS - 1
    expect(await tokens.token(DIRECT)).toBe('server 1')
    for (let day = 1; day <= 3; day += 1) {
      environment.ms += DAY_MS
      expect(await tokens.token(DIRECT)).toBe('from the node')
      expect(await tokens.token(DIRECT)).toBe('from the node')
      expect(renewals).toHaveLength(day)
      expect(renewals.at(-1)).toMatchObject({ token: 'server 1', challenge: CHALLENGE, key: key.publicKey })
    }
    serverSays = null
    environment.ms += DAY_MS
    expect(await tokens.token(DIRECT)).toBe('server 2')
  })

  it('are signed for with the key that the server was told of', async () => {
    await tokens.token(DIRECT)
    serverSays = 'offline'
    environment.ms += 2 * DAY_MS
    await tokens.token(DIRECT)
    const { signature } = renewals[0] ?? { signature: new Uint8Array() }
    const publicKey = await crypto.subtle.importKey('jwk', { ...key.publicKey } as JsonWebKey, 'Ed25519', true, [
      'verify',
    ])
    const message = await renewalMessage(NODE, CHALLENGE, 'server 1')
    expect(await crypto.subtle.verify('Ed25519', publicKey, new Uint8Array(signature), message)).toBe(true)
    await expect(crypto.subtle.exportKey('jwk', key.privateKey)).rejects.toThrow()
  })

  it('a refused one is not shown again, and can still be renewed', async () => {
    await tokens.token(DIRECT)
    await tokens.drop(NODE)
    serverSays = 'offline'
    expect(await tokens.token(DIRECT)).toBe('from the node')
    expect(renewals[0]?.token).toBe('server 1')
  })

  it.each(['stale', 'foreign'] as const)('K12: a %s one is renewed and not tried', async (thought) => {
    await tokens.token(DIRECT)
    verdict = thought
    serverSays = 'offline'
    expect(await tokens.token(DIRECT)).toBe('from the node')
    // On the node's own machine, what it has made is for the node alone to tell.
    expect(await tokens.token(DIRECT)).toBe('from the node')
    expect(renewals).toHaveLength(1)
  })

  describe('K12: what the node has made itself', () => {
    const [nowS, daysS] = [() => environment.ms / 1000, 86_400]
    const claims = () => ({
      ...{ iss: NODE, aud: `node:${NODE}`, sub: db.accountId, did: DEVICE, jti: 'j', scope: 'account' },
      ...{ iat: nowS(), nbf: nowS(), exp: nowS() + daysS, auth_time: nowS() - daysS },
    })
    beforeEach(async () => {
      await tokens.token(DIRECT)
      nodeKey = await makeSigningKey()
      serverSays = 'offline'
      environment.ms += 2 * DAY_MS
    })

    it('is kept where the key that its id certifies has signed it', async () => {
      const key = nodeKey as SigningKey
      nodeGives = () => sign(claims(), key, 'at+jwt')
      const made = await tokens.token(DIRECT)
      expect(await tokens.token(DIRECT)).toBe(made)
      expect(renewals).toHaveLength(1)
      // It was changed where it is kept: renewed, and not tried.
      const kept = (await db.getMeta('nodeTokens'))?.[NODE]
      await db.putMeta('nodeTokens', { [NODE]: { ...kept, token: `${made}A` } as NodeToken })
      await tokens.token(DIRECT)
      expect(renewals).toHaveLength(2)
    })

    it.each<[string, object, boolean]>([
      ['signed by another', {}, true],
      ['for another account', { sub: 'somebody' }, false],
      ['for another device', { did: '0'.repeat(16) }, false],
      ['for another node', { aud: `node:${'0'.repeat(32)}` }, false],
      ['of another issuer', { iss: '0'.repeat(32) }, false],
      ['for too long', { exp: 4_000_000_000 }, false],
      ['over', { exp: 1_000_000_000 }, false],
    ])('is not taken when it is %s', async (_, more, isForged) => {
      const key = isForged ? await makeSigningKey() : (nodeKey as SigningKey)
      const before = await db.getMeta('nodeTokens')
      nodeGives = () => sign({ ...claims(), ...more }, key, 'at+jwt')
      await expect(tokens.token(DIRECT)).rejects.toMatchObject({ code: 'offline' })
      expect(await db.getMeta('nodeTokens')).toEqual(before)
    })
  })

  it('K12: one that no node of this server would take is neither tried nor kept', async () => {
    verdict = 'foreign'
    await expect(tokens.token(DIRECT)).rejects.toMatchObject({ code: 'token_invalid' })
    expect(await db.getMeta('nodeTokens')).toBeUndefined()
  })

  it('K12: where this browser can check nothing, it is tried', async () => {
    verdict = 'unchecked'
    expect(await tokens.token(DIRECT)).toBe('server 1')
    expect(await tokens.token(DIRECT)).toBe('server 1')
  })

  it.each([
    ['through the relay', RELAY, 'offline'],
    ['when the login has ended', DIRECT, 'login_ended'],
  ])('nothing is renewed %s', async (_, route, code) => {
    await tokens.token(DIRECT)
    serverSays = code
    environment.ms += 2 * DAY_MS
    await expect(tokens.token(route)).rejects.toMatchObject({ code })
    expect(renewals).toHaveLength(0)
  })

  it.each([
    ['token_expired', 'offline'],
    ['device_revoked', 'device_revoked'],
  ])('a node that says %s makes it %s', async (refusal, code) => {
    await tokens.token(DIRECT)
    serverSays = 'offline'
    nodeRefuses = refusal
    environment.ms += 20 * DAY_MS
    await expect(tokens.token(DIRECT)).rejects.toMatchObject({ code })
  })

  it('without a key a token lasts for its day', async () => {
    await db.putMeta('deviceKey', null)
    await tokens.token(DIRECT)
    serverSays = 'offline'
    environment.ms += 2 * DAY_MS
    await expect(tokens.token(DIRECT)).rejects.toMatchObject({ code: 'offline' })
  })
})

it('signs what the node expects', async () => {
  // As tests/shared/test_device_keys.py has it.
  const message = await renewalMessage(NODE, CHALLENGE, 'a.b.c')
  expect(createHash('sha256').update(message).digest('hex')).toBe(
    'a0aadace6922afead459d79245e7926f61ed443a6bf51919d55a21261e0ea7ae',
  )
  expect(toHex(message).startsWith(toHex(new TextEncoder().encode(`domovoi/1 renew ${NODE} `)))).toBe(true)
})

async function known(): Promise<OwnKey> {
  const made = await makeKey()
  if (made === null) throw new Error('this machine makes no keys')
  return made
}
