/**
 * Cells of one conversation in one byte string, a column for each member (rule L23). A column is laid out by the
 * significance of its bytes, all first bytes before all second ones: so they compress to little.
 */
import type { Bootstrapped, PulledChange } from './generated'
import { limits } from './generated'

export interface Segment {
  scope: Uint8Array
  entities: SegmentEntity[]
}

export interface SegmentEntity {
  etype: number
  eid: Uint8Array
  cells: PulledChange[]
}

const COUNT_BYTES = 4

/** Returns what a segment holds, as views on it and on its columns. Throws RangeError for bytes that are none. */
export function unpackSegment(bytes: Uint8Array): Segment {
  const columns = new Columns(bytes)
  const scope = columns.bytes(limits.ENTITY_ID_BYTES)
  const [entityCount = 0] = columns.numbers(COUNT_BYTES, 1)
  const [count = 0] = columns.numbers(COUNT_BYTES, 1)
  const etypes = columns.numbers(2, entityCount)
  const eids = columns.rows(limits.ENTITY_ID_BYTES, entityCount)
  const owned = columns.numbers(COUNT_BYTES, entityCount)
  const fields = columns.numbers(2, count)
  const clocks = columns.rows(limits.CLOCK_BYTES, count)
  const kids = columns.numbers(4, count)
  const sequences = columns.numbers(8, count)
  const sizes = columns.numbers(4, count)
  let place = 0
  const entities = etypes.map((etype, index): SegmentEntity => {
    const eid = rowOf(eids, limits.ENTITY_ID_BYTES, index)
    const cells: PulledChange[] = []
    for (const end = place + (owned[index] ?? 0); place < end; place += 1) {
      const clk = rowOf(clocks, limits.CLOCK_BYTES, place)
      const value = columns.bytes(sizes[place] ?? 0)
      cells.push([clk, etype, eid, fields[place] ?? 0, scope, kids[place] ?? 0, value, sequences[place] ?? 0])
    }
    return { etype, eid, cells }
  })
  if (place !== count || !columns.isAtEnd) throw new RangeError('not a segment')
  return { scope, entities }
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
  private position = 0

  constructor(private readonly packed: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.position === this.packed.length
  }

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
