import { encode } from '@msgpack/msgpack'
import { describe, expect, it } from 'vitest'
import { decodeBody, decodeLogNews, decodeRunEvent, encodeBody } from '../../src/protocol/codec'

const ID = new Uint8Array(16).fill(7)
const BASE64 = 'BwcHBwcHBwcHBwcHBwcHBw=='

describe('MessagePack bodies (W1)', () => {
  it('keep bytes as bytes and every sequence number exact (L1)', () => {
    const body = {
      epoch: 2 ** 32 - 1,
      head: 2 ** 53 - 1,
      changes: [[ID, 3, ID, 1, ID, 0, new Uint8Array([1]), 2 ** 53 - 1]],
    }
    expect(decodeBody(encodeBody(body))).toEqual(body)
  })

  it('a key named __proto__ is refused', () => {
    expect(() => decodeBody(new Uint8Array([0x81, 0xa9, ...new TextEncoder().encode('__proto__'), 0x01]))).toThrow()
    expect(encode({})).toEqual(new Uint8Array([0x80]))
  })
})

describe('JSON inside event streams', () => {
  it('gives changes their bytes back', () => {
    const data = JSON.stringify({
      epoch: 1,
      prev_head: 4,
      head: 5,
      changes: [[BASE64, 3, BASE64, 1, BASE64, 0, 'oUE=', 5]],
    })
    expect(decodeLogNews(data).changes).toEqual([[ID, 3, ID, 1, ID, 0, new Uint8Array([0xa1, 0x41]), 5]])
  })

  it('knows news without changes', () => {
    expect(decodeLogNews('{"epoch":1,"prev_head":4,"head":500}').changes).toBeNull()
    expect(decodeLogNews('{"epoch":1,"prev_head":4,"head":500,"changes":null}').changes).toBeNull()
  })

  it('leaves texts alone, even those that look like base64', () => {
    expect(decodeRunEvent('{"kind":"text","text":"QUJD"}')).toEqual({ kind: 'text', text: 'QUJD' })
  })

  it('S5: gives an ended run its changes', () => {
    const state = { state: 'failed', code: 'engine_failed' }
    const data = JSON.stringify({ kind: 'ended', state, changes: [[BASE64, 3, BASE64, 4, BASE64, 0, 'gA==']] })
    const changes = [[ID, 3, ID, 4, ID, 0, new Uint8Array([0x80])]]
    expect(decodeRunEvent(data)).toEqual({ kind: 'ended', state, changes })
  })
})
