import { encode } from '@msgpack/msgpack'
import { expect, it } from 'vitest'
import { call, type Fetch } from '../../src/sync/http'
import { problem, reply } from './fakeServer'

function answering(response: Response): Fetch {
  return () => Promise.resolve(response)
}

it('W1: speaks MessagePack and leaves undefined members out', async () => {
  let sent: RequestInit | undefined
  const fetcher: Fetch = (_input, init) => {
    sent = init
    return Promise.resolve(reply({ head: 2 ** 53 - 1 }))
  }
  expect(await call(fetcher, '/x', { method: 'POST', body: { a: 1, b: undefined } })).toEqual({ head: 2 ** 53 - 1 })
  expect(sent?.body).toEqual(encode({ a: 1 }))
  expect(new Headers(sent?.headers).get('Content-Type')).toBe('application/msgpack')
})

it('reads JSON where the other side speaks only that', async () => {
  expect(await call(answering(Response.json({ status: 'ok' })), '/healthz')).toEqual({ status: 'ok' })
})

it('has no body for 204', async () => {
  expect(await call(answering(new Response(null, { status: 204 })), '/x')).toBeUndefined()
})

it.each([
  ['W2: a problem keeps its code', problem(507, 'quota_exceeded'), 'quota_exceeded'],
  ['an unknown code is internal', problem(500, 'something_new'), 'internal'],
  [
    'a problem that was cut on its way is silence',
    new Response('{"code": "no', { status: 503, headers: { 'Content-Type': 'application/problem+json' } }),
    'offline',
  ],
  ['a gateway’s page is silence', new Response('<html>', { status: 502 }), 'offline'],
  [
    'a captive portal’s page is silence',
    new Response('<html>', { headers: { 'Content-Type': 'text/html' } }),
    'offline',
  ],
])('%s', async (_name, response, code) => {
  await expect(call(answering(response), '/x')).rejects.toMatchObject({ code })
})

it('a network that does not answer is offline', async () => {
  await expect(call(() => Promise.reject(new TypeError('failed')), '/x')).rejects.toMatchObject({ code: 'offline' })
})

it('an abort of the caller’s own is not offline', async () => {
  const signal = AbortSignal.abort()
  const fetcher: Fetch = (_input, init) => Promise.reject(init?.signal?.reason as Error)
  await expect(call(fetcher, '/x', { signal })).rejects.toMatchObject({ name: 'AbortError' })
})
