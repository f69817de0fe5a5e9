/** Rule D6: when a route is left for another. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nextChoice, type Choice, type Contender } from '../../src/sync/choice'

const anyContender = fc.record({
  base: fc.constantFrom('a', 'b', 'c', 'relay'),
  score: fc.double({ min: 0, max: 5_000, noNaN: true }),
  isAlive: fc.boolean(),
})
const anyRound = fc.record({
  contenders: fc.uniqueArray(anyContender, { selector: ({ base }) => base }),
  passedMs: fc.nat(40_000),
  isOver: fc.boolean(),
})

/** Plays the rounds; returns each with what was in use before and after it. */
function played(rounds: readonly { contenders: Contender[]; passedMs: number; isOver: boolean }[]) {
  let choice: Choice | null = null
  let now = 0
  return rounds.map(({ contenders, passedMs, isOver }) => {
    now += passedMs
    const before: Choice | null = choice
    choice = nextChoice(before, contenders, now, isOver)
    return { before, after: choice, contenders, now, isOver }
  })
}

function contender(base: string, score: number, isAlive = true): Contender {
  return { base, score, isAlive }
}

describe('D6: which route is in use', () => {
  it('is one that lives, whenever one does', () => {
    fc.assert(
      fc.property(fc.array(anyRound), (rounds) => {
        for (const { after, contenders } of played(rounds)) {
          const alive = contenders.filter(({ isAlive }) => isAlive)
          if (alive.length === 0) expect(after).toBeNull()
          else expect(alive.map(({ base }) => base)).toContain(after?.base)
        }
      }),
    )
  })

  it('a dead route is left at once, for the best that lives', () => {
    fc.assert(
      fc.property(fc.array(anyRound), (rounds) => {
        for (const { before, after, contenders } of played(rounds)) {
          const alive = contenders.filter(({ isAlive }) => isAlive)
          if (alive.length === 0 || alive.some(({ base }) => base === before?.base)) continue
          expect(contenders.find(({ base }) => base === after?.base)?.score).toBe(
            Math.min(...alive.map(({ score }) => score)),
          )
        }
      }),
    )
  })

  it('a living route is left only after 30 s, for one that is better by 30 ms and a third', () => {
    fc.assert(
      fc.property(fc.array(anyRound), (rounds) => {
        for (const { before, after, contenders, now, isOver } of played(rounds)) {
          const current = contenders.find(({ base, isAlive }) => isAlive && base === before?.base)
          if (current === undefined || before === null || after?.base === before.base) continue
          const winner = contenders.find(({ base }) => base === after?.base)
          const gain = current.score - (winner?.score ?? Number.NaN)
          expect(isOver).toBe(true)
          expect(now - before.since).toBeGreaterThanOrEqual(30_000)
          expect(gain).toBeGreaterThanOrEqual(Math.max(30, current.score * 0.33))
          expect(before.wins).toBeGreaterThanOrEqual(2)
        }
      }),
    )
  })

  it('two routes that take turns at being better never make it flap', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 100 }), (isFirstBetter) => {
        // Each is better for two rounds at most: nobody wins three times in a row.
        const rounds = isFirstBetter
          .flatMap((first) => [first, !first])
          .map((first) => ({
            contenders: [contender('a', first ? 10 : 500), contender('b', first ? 500 : 10)],
            passedMs: 15_000,
            isOver: true,
          }))
        const used = new Set(played(rounds).map(({ after }) => after?.base))
        expect(used.size).toBe(1)
      }),
    )
  })

  it('takes a better one after three wins in a row and 30 s', () => {
    const round = { contenders: [contender('relay', 100), contender('a', 20)], passedMs: 15_000, isOver: true }
    const first = { contenders: [contender('relay', 100)], passedMs: 0, isOver: true }
    expect(played([first, round, round, round]).map(({ after }) => after?.base)).toEqual([
      'relay',
      'relay',
      'relay',
      'a',
    ])
    const hasty = { ...round, passedMs: 5_000 }
    const used = played([first, ...Array.from({ length: 6 }, () => hasty)]).map(({ after }) => after?.base)
    expect(used).toEqual([...Array.from({ length: 6 }, () => 'relay'), 'a'])
  })
})
