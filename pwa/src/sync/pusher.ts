/** Draining the outbox in order (rules L8-L10). */
import type { AccountDatabase } from '../local/database'
import { beginAnew, dropScopes, notePushed, noteServer } from '../local/log'
import {
  acknowledge,
  endOf,
  hashAfter,
  markForked,
  nextPush,
  pushAfter,
  pushThrough,
  restamp,
  takeFresh,
} from '../local/outbox'
import { toHex } from '../protocol/bytes'
import { ProblemError, type FailureCode } from '../protocol/errors'
import { ERROR_CODES, limits, type Push, type Pushed } from '../protocol/generated'
import type { Server } from './server'
import { isRunning } from './wait'

export class Pusher {
  private flight: Promise<unknown> = Promise.resolve()
  /** What was pushed to show that the server's chain is this device's. */
  private proof: Push | null = null

  constructor(
    private readonly db: AccountDatabase,
    private readonly server: Server,
    /** Told the last dseq of the push in flight, and null when none is. */
    private readonly onFlight: (lastDseq: number | null) => void,
  ) {}

  /** Pushes until the outbox is empty. Throws ProblemError with the code that keeps it from going on. */
  async drain(signal: AbortSignal): Promise<void> {
    let refusals = 0
    // What became of an earlier one has been told.
    this.flight = this.landed()
    let push = await this.next()
    try {
      // Another tab may have taken over while this one was frozen.
      while (push !== null && isRunning(signal)) {
        const [following, refusal]: [Push | null, ProblemError | null] = await this.push(push, signal)
        refusals = refusal === null ? 0 : refusals + 1
        push = (refusal === null ? following : await this.recover(refusal, push, refusals)) ?? (await this.next())
      }
    } finally {
      this.onFlight(null)
      await this.flight
    }
  }

  /** Resolves when what is on its way has arrived and its answer is stored, however it ends. */
  async landed(): Promise<void> {
    await this.flight.catch(() => undefined)
  }

  /** Returns the first push of what waits when all answers are stored. */
  private async next(): Promise<Push | null> {
    await this.flight
    return takeFresh(this.db, this.server.deviceId) ?? nextPush(this.db)
  }

  /**
   * Returns the push that follows this one, if it is known already, and why not all of this one was taken, or null.
   * What follows is read while this one is on its way, and goes on its way while this one's answer is stored: the
   * server is two pushes ahead of this device's disk at most.
   */
  private async push(push: Push, signal: AbortSignal): Promise<[Push | null, ProblemError | null]> {
    this.onFlight(endOf(push))
    const stored = this.flight
    const pushing = this.server.push(push, signal)
    const isFull = push.changes.length >= limits.MAX_PUSH_CHANGES
    const hash = isFull ? hashAfter(push) : undefined
    const storing = this.store(push, hash, pushing, stored)
    this.flight = storing
    // Whoever awaits it is told.
    storing.catch(() => undefined)
    const following = hash === undefined ? null : pushAfter(this.db, push, hash)
    following?.catch(() => undefined)
    const pushed = await pushing.catch(onlyProblem)
    await stored
    if (pushed instanceof ProblemError) return [null, pushed]
    const refusal = pushed.rejected?.[0]
    if (refusal !== undefined) return [null, asProblem(refusal.code)]
    return [pushed.acked_dseq === endOf(push) ? await following : null, null]
  }

  /** Stores the answer to a push after those before it. */
  private async store(
    push: Push,
    hash: Uint8Array | undefined,
    pushing: Promise<Pushed>,
    before: Promise<unknown>,
  ): Promise<void> {
    const pushed = await pushing.catch(onlyProblem)
    await before
    if (!(pushed instanceof ProblemError)) {
      return this.db.logTransaction(async () => {
        const log = await acknowledge(this.db, pushed.acked_dseq, push, hash)
        await dropScopes(this.db, (pushed.purged ?? []).map(toHex))
        await notePushed(this.db, push, pushed, log)
      })
    }
    const { acked_dseq: acked, server_ms: serverMs } = pushed.problem ?? {}
    if (typeof acked === 'number') await acknowledge(this.db, acked, push)
    if (typeof serverMs === 'number') await noteServer(this.db, serverMs, false)
  }

  /** Puts right what this device can put right by itself, and may know what to push then; throws what it can't. */
  private async recover(problem: ProblemError, push: Push, refusals: number): Promise<Push | null> {
    await this.flight
    switch (problem.code) {
      case 'clock_ahead':
        if (refusals > 1) throw problem
        await restamp(this.db)
        return null
      case 'epoch_changed':
        await beginAnew(this.db, 'history')
        throw problem
      case 'device_forked':
      case 'sequence_gap':
        return this.explain(problem, push)
      default:
        throw problem
    }
  }

  /** Returns what to push instead of what did not fit the server's chain, or null for what waits; throws a fork. */
  private async explain({ problem }: ProblemError, push: Push): Promise<Push | null> {
    const last = typeof problem?.last_dseq === 'number' ? problem.last_dseq : 0
    if (last > endOf(push)) {
      // Another tab has pushed more, or this device ended before it had noted all that was acknowledged. If it holds
      // the server's last change still, a push with that one tells.
      this.proof = await pushThrough(this.db, last)
      if (this.proof !== null) return this.proof
    }
    // A fork is what the server refuses of the outbox as it is: another tab may have been here meanwhile.
    const now = await (push === this.proof ? pushThrough(this.db, endOf(push)) : nextPush(this.db))
    if (!isSamePlace(push, now)) return null
    // What is missing before our changes was acknowledged once and is gone here: a gap is a fork as well.
    await markForked(this.db)
    throw new ProblemError('device_forked')
  }
}

function onlyProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  throw error
}

function isSamePlace(push: Push, next: Push | null): boolean {
  return next?.first_dseq === push.first_dseq && next.changes.length === push.changes.length
}

function asProblem(code: string): ProblemError {
  const known: FailureCode = ERROR_CODES.find((candidate) => candidate === code) ?? 'internal'
  return new ProblemError(known)
}
