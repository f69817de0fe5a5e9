/** How fast changes merge into cells in memory: `tests/benchmarks/sync_server.py` runs the same in Python. */
import { bench } from 'vitest'
import { tick, ZERO_CLOCK } from '../../src/protocol/clock'
import type { Change } from '../../src/protocol/generated'
import { merge } from '../../src/protocol/merge'

const COUNT = 100_000
const ENTITIES = 20_000
const device = new TextEncoder().encode('12345678')
const scope = new Uint8Array(16).fill(115)
const value = new Uint8Array([118])
let clock: Change[0] = ZERO_CLOCK
const changes = Array.from({ length: COUNT }, (_, number): Change => {
  clock = tick(clock, 1_700_000_000_000 + number, device)
  const eid = new Uint8Array(16)
  new DataView(eid.buffer).setUint32(12, number % ENTITIES)
  return [clock, 3, eid, number % 4, scope, 0, value]
})

bench('merge', () => {
  merge(new Map(), changes)
})
