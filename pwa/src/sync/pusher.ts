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
import { encodeBody } from '../protocol/codec'
import { ProblemError, type FailureCode } from '../protocol/errors'
import { ERROR_CODES, limits, type Push, type Pushed } from '../protocol/generated'
import type { Server } from './server'
import { isRunning, sleep } from './wait'

/** A push, and its bytes where they have been made already: while the one before it was on its way. */
interface Ready {
  push: Push
  body?: Uint8Array
}

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
    let ready: Ready | null = readily(await this.next())
    try {
      // Another tab may have taken over while this one was frozen.
      while (ready !== null && isRunning(signal)) {
        const { push } = ready
        const [following, refusal]: [Ready | null, ProblemError | null] = await this.push(ready, signal)
        refusals = refusal === null ? 0 : refusals + 1
        const repaired = refusal === null ? null : await this.recover(refusal, push, refusals)
        ready = following ?? readily(repaired ?? (await this.next()))
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
   * What follows is made ready while this one is on its way, and goes on its way while this one's answer is stored: the
   * server is two pushes ahead of this device's disk at most.
   */
  private async push({ push, body }: Ready, signal: AbortSignal): Promise<[Ready | null, ProblemError | null]> {
    this.onFlight(endOf(push))
    const stored = this.flight
    const pushing = this.server.push(push, signal, body)
    const isFull = push.changes.length >= limits.MAX_PUSH_CHANGES
    // Thousands of hashes take the time in which the server could begin already.
    const hashing = isFull ? sleep(0, signal).then(() => hashAfter(push)) : Promise.resolve(undefined)
    const storing = this.store(push, hashing, pushing, stored)
    this.flight = storing
    // Whoever awaits it is told.
    storing.catch(() => undefined)
    const following = hashing.then((hash) => (hash === undefined ? null : this.following(push, hash)))
    following.catch(() => undefined)
    const pushed = await pushing.catch(onlyProblem)
    await stored
    if (pushed instanceof ProblemError) return [null, pushed]
    const refusal = pushed.rejected?.[0]
    if (refusal !== undefined) return [null, asProblem(refusal.code)]
    return [pushed.acked_dseq === endOf(push) ? await following : null, null]
  }

  private async following(push: Push, hash: Uint8Array): Promise<Ready | null> {
    const next = await pushAfter(this.db, push, hash)
    return next && { push: next, body: encodeBody(next) }
  }

  /** Stores the answer to a push after those before it. */
  private async store(
    push: Push,
    hashing: Promise<Uint8Array | undefined>,
    pushing: Promise<Pushed>,
    before: Promise<unknown>,
  ): Promise<void> {
    const pushed = await pushing.catch(onlyProblem)
    await before
    if (!(pushed instanceof ProblemError)) {
      const hash = await hashing
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

function readily(push: Push | null): Ready | null {
  return push && { push }
}

function isSamePlace(push: Push, next: Push | null): boolean {
  return next?.first_dseq === push.first_dseq && next.changes.length === push.changes.length
}

function asProblem(code: string): ProblemError {
  const known: FailureCode = ERROR_CODES.find((candidate) => candidate === code) ?? 'internal'
  return new ProblemError(known)
}
