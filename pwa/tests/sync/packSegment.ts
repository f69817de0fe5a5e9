/** Packs cells as the server does (rule L23). */
import { equalBytes, writeUint } from '../../src/protocol/bytes'
import type { PulledChange } from '../../src/protocol/generated'

/** Returns cells of one scope as a segment; those of an entity stand together. */
export function packSegment(cells: readonly PulledChange[]): Uint8Array {
  const entities: PulledChange[][] = []
  for (const cell of cells) {
    const last = entities.at(-1)
    if (last?.[0]?.[1] === cell[1] && equalBytes(last[0][2], cell[2])) last.push(cell)
    else entities.push([cell])
  }
  const heads = entities.flatMap((own) => own.slice(0, 1))
  return joined([
    heads[0]?.[4] ?? new Uint8Array(),
    number(entities.length, 4),
    number(cells.length, 4),
    planes(heads.map(([, etype]) => number(etype, 2))),
    planes(heads.map(([, , eid]) => eid)),
    planes(entities.map((own) => number(own.length, 4))),
    planes(cells.map(([, , , field]) => number(field, 2))),
    planes(cells.map(([clk]) => clk)),
    planes(cells.map(([, , , , , kid]) => number(kid, 4))),
    planes(cells.map((cell) => number(cell[7], 8))),
    planes(cells.map((cell) => number(cell[6].length, 4))),
    ...cells.map((cell) => cell[6]),
  ])
}

function number(value: number, width: number): Uint8Array {
  const bytes = new Uint8Array(width)
  writeUint(bytes, 0, width, value)
  return bytes
}

function planes(rows: readonly Uint8Array[]): Uint8Array {
  const width = rows[0]?.length ?? 0
  return Uint8Array.from({ length: width * rows.length }, (_, place) => {
    return rows[place % rows.length]?.[Math.floor(place / rows.length)] ?? 0
  })
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}
