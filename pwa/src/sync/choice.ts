/**
 * Which route is in use: not simply the best one, but one that is left only for a better one that stays better. Pure:
 * scores and time come from outside (rule D6).
 */

/** A better route is taken after this many rounds in which it was better by enough. */
const WINS_NEEDED = 3
const LEAST_GAIN_MS = 30
const LEAST_GAIN_SHARE = 0.33
/** A route that was taken is kept this long while it lives. */
const DWELL_MS = 30_000

export interface Contender {
  /** The route's address. */
  base: string
  score: number
  isAlive: boolean
}

export interface Choice {
  base: string
  /** When it was taken, ms. */
  since: number
  /** The best of the others, and in how many rounds in a row it was better by enough. */
  challenger: string | null
  wins: number
}

/**
 * Returns what is in use after a round of probes, or after one of them when `isRoundOver` is false: then nothing is won
 * yet, and only a dead route is left. With no choice before, or a dead one, the best living route is taken at once.
 */
export function nextChoice(
  before: Choice | null,
  contenders: readonly Contender[],
  now: number,
  isRoundOver: boolean,
): Choice | null {
  const alive = contenders.filter(({ isAlive }) => isAlive)
  const current = alive.find(({ base }) => base === before?.base)
  const [best] = [...alive].sort((left, right) => left.score - right.score)
  if (best === undefined) return null
  if (before === null || current === undefined) return taken(best, now)
  if (!isRoundOver) return before
  const gain = current.score - best.score
  if (best === current || gain < Math.max(LEAST_GAIN_MS, LEAST_GAIN_SHARE * current.score)) {
    return { ...before, challenger: null, wins: 0 }
  }
  const wins = before.challenger === best.base ? before.wins + 1 : 1
  if (wins >= WINS_NEEDED && now - before.since >= DWELL_MS) return taken(best, now)
  return { ...before, challenger: best.base, wins }
}

function taken({ base }: Contender, now: number): Choice {
  return { base, since: now, challenger: null, wins: 0 }
}
