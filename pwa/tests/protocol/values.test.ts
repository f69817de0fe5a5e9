import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '../../src/protocol/generated'
import {
  encodeText,
  encodeValue,
  isContinuable,
  isFinal,
  readId,
  readRequest,
  readText,
  readTexts,
} from '../../src/protocol/values'

/** Node's own judge, which knows nothing of MessagePack. */
const isUtf8 = (bytes: Uint8Array) => Buffer.compare(Buffer.from(Buffer.from(bytes).toString()), bytes) === 0

const NODE = new Uint8Array(16).fill(1)

describe('text', () => {
  it('V1: comes back as it was written, however long', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        expect(readText(encodeText(text))).toBe(text)
      }),
    )
  })

  it('V3: many at once are what each is by itself, also where they are cut within a character', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((drawn) => encodeText(drawn))
    const half = text.map((bytes) =>
      Uint8Array.of(0xd9, Math.floor(bytes.length / 2), ...bytes.subarray(1, 1 + Math.floor(bytes.length / 2))),
    )
    const tail = text.map((bytes) =>
      Uint8Array.of(0xd9, bytes.length >> 1, ...bytes.subarray(bytes.length - (bytes.length >> 1))),
    )
    const ascii = fc.string({ maxLength: 40 }).map((drawn) => encodeText(drawn))
    const any = fc.oneof(text, ascii, fc.uint8Array({ maxLength: 8 }))
    fc.assert(
      fc.property(
        fc.array(fc.oneof(any, half, tail), { maxLength: 12 }),
        fc.array(fc.oneof(text, ascii)),
        (all, valid) => {
          expect(readTexts(all)).toEqual(all.map(readText))
          expect(readTexts(valid)).toEqual(valid.map(readText))
        },
      ),
    )
    const [whole = new Uint8Array()] = [encodeText('й')]
    const cut = [Uint8Array.of(0xa1, whole[1] ?? 0), Uint8Array.of(0xa1, whole[2] ?? 0)]
    expect(readTexts(cut)).toEqual([null, null])
  })

  it('V3: any bytes that are no text count as absent', () => {
    // 0xd9 to 0xdb begin the longer strings, which the round trip above covers.
    const anyBytes = fc.uint8Array({ maxLength: 31 }).filter(([first = 0]) => first < 0xd9 || first > 0xdb)
    // Half of them with the head of a short MessagePack string, so that what follows decides.
    const withHead = fc.uint8Array({ maxLength: 31 }).map((bytes) => Uint8Array.of(0xa0 | bytes.length, ...bytes))
    fc.assert(
      fc.property(fc.oneof(anyBytes, withHead), (bytes) => {
        const head = bytes[0] ?? 0
        const isShort = head >> 5 === 0b101 && (head & 0x1f) === bytes.length - 1
        const isText = isShort && isUtf8(bytes.subarray(1))
        expect(readText(bytes)).toBe(
          isText ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(1)) : null,
        )
      }),
      // A letter written in more bytes than it takes: its last byte is the letter itself.
      { examples: [[Uint8Array.of(0xa2, 0xc1, 0x40)]] },
    )
  })

  it('V4: lone surrogates and too many characters are refused', () => {
    expect(() => encodeText('a\udc00')).toThrow()
    expect(() => encodeText('\ud83d a')).toThrow()
    expect(() => encodeText('x'.repeat(limits.MAX_MESSAGE_CHARACTERS + 1))).toThrow()
  })
})

describe('a request', () => {
  it('names its node, or any', () => {
    expect(readRequest(encodeValue({ node: NODE, model: null, sampling: {} }))).toMatchObject({ node: NODE })
    expect(readRequest(encodeValue({ node: null }))).toEqual({ node: null, model: null, sampling: {} })
  })

  it.each([
    ['no node', { model: null }],
    ['a short node', { node: new Uint8Array(3) }],
    ['a model that is no name', { node: NODE, model: 7 }],
    ['sampling that is none', { node: NODE, sampling: [] }],
    ['a temperature out of range', { node: NODE, sampling: { temperature: 9 } }],
    ['half a token', { node: NODE, sampling: { max_tokens: 1.5 } }],
  ])('V3: with %s counts as absent', (_name, value) => {
    expect(readRequest(encodeValue(value))).toBeNull()
  })
})

it('an id has 16 bytes', () => {
  expect(readId(encodeValue(NODE))).toEqual(NODE)
  expect(readId(encodeValue(new Uint8Array(15)))).toBeNull()
  expect(readId(encodeValue('x'))).toBeNull()
})

it('Q5, Q3: all states but two are final; two let the next request run', () => {
  const states = ['queued', 'running', 'done', 'stopped', 'interrupted', 'failed'] as const
  expect(states.filter((state) => isFinal({ state }))).toEqual(['done', 'stopped', 'interrupted', 'failed'])
  expect(states.filter((state) => isContinuable({ state }))).toEqual(['done', 'stopped'])
  expect(isFinal(null)).toBe(false)
})
