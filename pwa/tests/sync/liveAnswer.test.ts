import fc from 'fast-check'
import { expect, it, vi } from 'vitest'
import { fromHex } from '../../src/protocol/bytes'
import { EntityType, MessageField, type Change, type RunEvent } from '../../src/protocol/generated'
import { encodeText } from '../../src/protocol/values'
import { applyEvent, newLiveAnswer } from '../../src/sync/liveAnswer'

const anyTexts = fc.array(fc.string(), { maxLength: 20 })

/** A watcher that is cut after each of `cuts` events and continues, sometimes with a few events again. */
function watched(events: readonly RunEvent[], cuts: readonly { length: number; again: number }[]) {
  const live = newLiveAnswer('aa', 'bb', 'direct')
  for (const { length, again } of [...cuts, { length: events.length, again: 0 }]) {
    const from = Math.max(0, live.lastEvent - again)
    for (let number = from + 1; number <= Math.min(events.length, from + length); number += 1) {
      const event = events[number - 1]
      if (event !== undefined) expect(applyEvent(live, number, event)).toBe(true)
    }
  }
  return live
}

it('S2, S3: however the stream is cut and repeated, the text is the run’s, byte for byte', () => {
  const anyCuts = fc.array(fc.record({ length: fc.nat({ max: 8 }), again: fc.nat({ max: 4 }) }), { maxLength: 8 })
  fc.assert(
    fc.property(anyTexts, anyCuts, (texts, cuts) => {
      const events: RunEvent[] = [
        { kind: 'started', model: 'small', engine: 'llama_cpp' },
        ...texts.map((text): RunEvent => ({ kind: 'text', text })),
        { kind: 'ended', state: { state: 'done' }, changes: [] },
      ]
      const live = watched(events, cuts)
      expect(live).toMatchObject({ text: texts.join(''), lastEvent: events.length, model: 'small' })
      expect(live.ended?.state.state).toBe('done')
    }),
  )
})

it('S1: an event that leaves a gap is not applied', () => {
  const live = newLiveAnswer('aa', 'bb', 'direct')
  expect(applyEvent(live, 2, { kind: 'text', text: 'later' })).toBe(false)
  expect(live).toMatchObject({ text: '', lastEvent: 0 })
})

it('keeps notices in order', () => {
  const live = newLiveAnswer('aa', 'bb', 'relay')
  applyEvent(live, 1, { kind: 'notice', code: 'engine_busy' })
  applyEvent(live, 2, { kind: 'notice', code: 'model_missing' })
  expect(live.notices).toEqual(['engine_busy', 'model_missing'])
})

it.each(['Hello', 'Hell'])('S2: a body that is not what was streamed is reported (%s)', (body) => {
  const report = vi.spyOn(console, 'error').mockReturnValue()
  const id = 'aa'.repeat(16)
  const bytes = fromHex(id)
  const written: Change = [new Uint8Array(16), EntityType.MESSAGE, bytes, MessageField.BODY, bytes, 0, encodeText(body)]
  const live = newLiveAnswer(id, 'bb', 'direct')
  applyEvent(live, 1, { kind: 'text', text: 'Hello' })
  applyEvent(live, 2, { kind: 'ended', state: { state: 'done' }, changes: [written] })
  expect(report).toHaveBeenCalledTimes(body === 'Hello' ? 0 : 1)
})
