/** Rule D5: which addresses a page may try. */
import { describe, expect, it } from 'vitest'
import type { Candidate } from '../../src/protocol/generated'
import { atHome, isAtHome, waysTo, type LocalNetworkPermission } from '../../src/sync/ways'

const NAME: Candidate = { scheme: 'https', host: 'pc.home.example', port: 8443, kind: 'name' }
const LAN: Candidate = { scheme: 'http', host: '192.168.1.34', port: 8461, kind: 'lan' }
const HERE: Candidate = { scheme: 'http', host: 'localhost', port: 8461, kind: 'loopback' }
const ALL = [NAME, LAN, HERE]
const AWAY = { protocol: 'https:', host: 'home.example' }

function ways(permission: LocalNetworkPermission, page = AWAY) {
  return waysTo(ALL, page, permission).map(({ candidate, obstacle }) => [candidate.kind, obstacle])
}

describe('from a page with a certificate', () => {
  it.each<[LocalNetworkPermission, (string | null)[][]]>([
    [
      'granted',
      [
        ['name', null],
        ['lan', null],
      ],
    ],
    [
      'prompt',
      [
        ['name', 'unasked'],
        ['lan', 'unasked'],
      ],
    ],
    [
      'denied',
      [
        ['name', 'denied'],
        ['lan', 'denied'],
      ],
    ],
    // Safari and Firefox: a name with a certificate is the only way.
    [
      'unsupported',
      [
        ['name', null],
        ['lan', 'forbidden'],
      ],
    ],
  ])('with the permission %s', (permission, expected) => {
    expect(ways(permission)).toEqual(expected)
  })
})

it('a page on the PC itself needs nobody’s permission, and looks at localhost', () => {
  const page = { protocol: 'http:', host: 'localhost' }
  expect(isAtHome(page)).toBe(true)
  expect(ways('unneeded', page)).toEqual([
    ['name', null],
    ['lan', null],
    ['loopback', null],
  ])
})

it('a page of a server at home does not take its own device for the PC', () => {
  expect(ways('unneeded', { protocol: 'http:', host: '192.168.1.5' })).toEqual([
    ['name', null],
    ['lan', null],
  ])
})

it('no more than six are tried, the likeliest', () => {
  const many = Array.from({ length: 12 }, (_, index) => ({ ...LAN, host: `10.0.0.${String(index)}` }))
  expect(waysTo(many, AWAY, 'granted').map(({ base }) => base)).toEqual(
    many.slice(0, 6).map(({ host }) => `http://${host}:8461`),
  )
})

it.each([
  ['http://192.168.1.34:8461/v1/keys', true],
  ['http://172.31.0.1:8461/', true],
  ['http://172.32.0.1:8461/', false],
  ['http://100.100.0.1:8461/', true],
  ['http://[fd00::7]:8461/', true],
  ['http://8.8.8.8:8461/', false],
  ['http://localhost:8461/', false],
  ['https://192.168.1.34:8443/', false],
  ['/api/v1/nodes', false],
])('the browser is told that %s is at home: %s', (url, expected) => {
  expect('targetAddressSpace' in atHome(url, { method: 'POST' })).toBe(expected)
})
