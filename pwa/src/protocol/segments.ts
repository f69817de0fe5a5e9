/**
 * Cells of one conversation in one byte string, a column for each member (rule L23). A column is laid out by the
 * significance of its bytes, all first bytes before all second ones: so they compress to little.
 */
import { toHex } from './bytes'
import { EntityType, limits, MessageField, type Bootstrapped, type PulledChange } from './generated'
import { messageOf, type Message } from './messages'
import { readTexts } from './values'

export interface Segment {
  scope: Uint8Array
  entities: SegmentEntity[]
}

export interface SegmentEntity {
  etype: number
  eid: Uint8Array
  cells: PulledChange[]
}

/** An entity of a segment and the message that it is, if it is one that can be shown. */
export interface PackedMessage {
  etype: number
  /** Lower-case hex. */
  eid: string
  message: Message | null
}

const COUNT_BYTES = 4

/** Returns what a segment holds, as views on it and on its columns. Throws RangeError for bytes that are none. */
export function unpackSegment(bytes: Uint8Array): Segment {
  const { scope, etypes, eids, ends, fields, clocks, kids, sequences, value } = readColumns(bytes)
  let place = 0
  const entities = etypes.map((etype, index): SegmentEntity => {
    const eid = rowOf(eids, limits.ENTITY_ID_BYTES, index)
    const cells: PulledChange[] = []
    for (const end = ends[index] ?? 0; place < end; place += 1) {
      const clk = rowOf(clocks, limits.CLOCK_BYTES, place)
      cells.push([clk, etype, eid, fields[place] ?? 0, scope, kids[place] ?? 0, value(place), sequences[place] ?? 0])
    }
    return { etype, eid, cells }
  })
  return { scope, entities }
}

/**
 * Returns the entities of a segment with their messages, without making cells of it: of a hundred thousand messages that
 * takes half of the time. Throws RangeError for bytes that are no segment.
 */
export function foldSegment(bytes: Uint8Array): PackedMessage[] {
  const { scope, etypes, eids, ends, fields, clocks, value } = readColumns(bytes)
  const conversation = toHex(scope)
  const start = (index: number) => (index === 0 ? 0 : (ends[index - 1] ?? 0))
  const placeOf = (index: number, field: number): number => {
    const first = start(index)
    let place = (ends[index] ?? 0) - 1
    while (place >= first && fields[place] !== field) place -= 1
    return place < first ? -1 : place
  }
  const valueOf = (index: number, field: number) => {
    const place = placeOf(index, field)
    return place < 0 ? undefined : value(place)
  }
  const bodies = readTexts(etypes.map((_, index) => valueOf(index, MessageField.BODY) ?? NO_VALUE))
  return etypes.map((etype, index): PackedMessage => {
    const eid = toHex(rowOf(eids, limits.ENTITY_ID_BYTES, index))
    const header = etype === EntityType.MESSAGE ? placeOf(index, MessageField.HEADER) : -1
    if (header < 0) return { etype, eid, message: null }
    const created = rowOf(clocks, limits.CLOCK_BYTES, header)
    const read = (field: number) => valueOf(index, field)
    return { etype, eid, message: messageOf(eid, conversation, created, read, bodies[index] ?? null) }
  })
}

const NO_VALUE = new Uint8Array()

function readColumns(bytes: Uint8Array) {
  const columns = new Columns(bytes)
  const scope = columns.bytes(limits.ENTITY_ID_BYTES)
  const [entityCount = 0] = columns.numbers(COUNT_BYTES, 1)
  const [count = 0] = columns.numbers(COUNT_BYTES, 1)
  const etypes = columns.numbers(2, entityCount)
  const eids = columns.rows(limits.ENTITY_ID_BYTES, entityCount)
  // Where the cells of each entity end.
  const ends = sums(columns.numbers(COUNT_BYTES, entityCount), 0)
  const fields = columns.numbers(2, count)
  const clocks = columns.rows(limits.CLOCK_BYTES, count)
  const kids = columns.numbers(4, count)
  const sequences = columns.numbers(8, count)
  const sizes = columns.numbers(4, count)
  const values = columns.position
  const valueEnds = sums(sizes, values)
  if ((ends.at(-1) ?? 0) !== count || (valueEnds.at(-1) ?? values) !== bytes.length) {
    throw new RangeError('not a segment')
  }
  const value = (place: number) => bytes.subarray(place === 0 ? values : valueEnds[place - 1], valueEnds[place])
  return { scope, etypes, eids, ends, fields, clocks, kids, sequences, value }
}

/** Returns the sum up to each number, from `sum` on. */
function sums(numbers: readonly number[], sum: number): number[] {
  return numbers.map((number) => (sum += number))
}

/** Returns the cells of a page, in segments or not. */
export function cellsOf({ changes, segments = [] }: Pick<Bootstrapped, 'changes' | 'segments'>): PulledChange[] {
  if (segments.length === 0) return changes
  return [...changes, ...segments.flatMap((segment) => unpackSegment(segment).entities.flatMap(({ cells }) => cells))]
}

function rowOf(rows: Uint8Array, width: number, index: number): Uint8Array {
  return rows.subarray(index * width, (index + 1) * width)
}

/** Reads column after column. */
class Columns {
  position = 0

  constructor(private readonly packed: Uint8Array) {}

  /** Returns a view on the next `length` bytes. */
  bytes(length: number): Uint8Array {
    const start = this.position
    if (start + length > this.packed.length) throw new RangeError('not a segment')
    this.position += length
    return this.packed.subarray(start, this.position)
  }

  /** Returns `count` byte strings of `width` bytes, one after the other. */
  rows(width: number, count: number): Uint8Array {
    const column = this.bytes(width * count)
    const rows = new Uint8Array(width * count)
    let from = 0
    for (let byte = 0; byte < width; byte += 1) {
      for (let to = byte; to < rows.length; to += width) rows[to] = column[from++] ?? 0
    }
    return rows
  }

  /** Returns `count` whole numbers of `width` bytes. */
  numbers(width: number, count: number): number[] {
    const column = this.bytes(width * count)
    const numbers = new Array<number>(count).fill(0)
    let from = 0
    for (let byte = 0; byte < width; byte += 1) {
      for (let index = 0; index < count; index += 1) {
        numbers[index] = (numbers[index] ?? 0) * 256 + (column[from++] ?? 0)
      }
    }
    return numbers
  }
}
