/** Messages of a segment (rule L23): folded in one go, they are what their cells fold to one by one. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { toHex } from '../../src/protocol/bytes'
import { EntityType, MessageField, type PulledChange } from '../../src/protocol/generated'
import { foldMessage, type Fields } from '../../src/protocol/messages'
import { foldSegment, unpackSegment } from '../../src/protocol/segments'
import { encodeText, encodeValue } from '../../src/protocol/values'
import { packSegment } from '../sync/packSegment'

const SCOPE = new Uint8Array(16).fill(0xcc)

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const anyValue = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 30 }).map((text) => encodeText(text)),
  fc.record({ role: fc.constantFrom('user', 'assistant', 'nobody'), parent: fc.option(bytes(16)) }).map(encodeValue),
  fc.constantFrom('running', 'done', 'lost').map((state) => encodeValue({ state })),
  fc.boolean().map(encodeValue),
  fc.uint8Array({ maxLength: 6 }),
)
const fields = fc.constantFrom(...Object.values(MessageField).filter((field) => typeof field === 'number'))
const anyEntity = fc.record({
  etype: fc.constantFrom(EntityType.MESSAGE, EntityType.MESSAGE, EntityType.ATTACHMENT),
  eid: bytes(16),
  cells: fc.uniqueArray(fc.record({ field: fields, clk: bytes(16), value: anyValue }), {
    minLength: 1,
    selector: ({ field }) => field,
  }),
})
const anySegment = fc.uniqueArray(anyEntity, { minLength: 1, maxLength: 8, selector: ({ eid }) => toHex(eid) })

function packed(entities: typeof anySegment extends fc.Arbitrary<infer Kind> ? Kind : never): Uint8Array {
  return packSegment(
    entities.flatMap(({ etype, eid, cells }) =>
      cells.map(({ field, clk, value }): PulledChange => [clk, etype, eid, field, SCOPE, 0, value, 1]),
    ),
  )
}

it('L23: are those of the cells', () => {
  fc.assert(
    fc.property(anySegment, (entities) => {
      const segment = packed(entities)
      const expected = unpackSegment(segment).entities.map(({ etype, eid, cells }) => {
        const byField: Fields = Object.fromEntries(cells.map((cell) => [cell[3], cell]))
        return {
          etype,
          eid: toHex(eid),
          message: etype === EntityType.MESSAGE ? foldMessage(toHex(eid), byField) : null,
        }
      })
      expect(foldSegment(segment)).toEqual(expected)
    }),
  )
})

it('L23: bytes that are no segment are refused by both readers alike', () => {
  fc.assert(
    fc.property(anySegment, fc.nat(), fc.integer({ min: 1, max: 255 }), (entities, place, flipped) => {
      const segment = packed(entities)
      const damaged = segment.slice()
      damaged[place % 24] = (damaged[place % 24] ?? 0) ^ flipped
      for (const bad of [segment.subarray(0, place % segment.length), damaged]) {
        const isRefused = (read: (data: Uint8Array) => unknown) => {
          try {
            read(bad)
            return false
          } catch (error) {
            if (error instanceof RangeError) return true
            throw error
          }
        }
        expect(isRefused(foldSegment)).toBe(isRefused(unpackSegment))
      }
      expect(() => foldSegment(segment.subarray(0, segment.length - 1))).toThrow(RangeError)
    }),
  )
})
