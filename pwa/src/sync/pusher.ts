/** Draining the outbox in order (rules L8-L10). */
import type { AccountDatabase } from '../local/database'
import { beginAnew, dropScopes, noteServer } from '../local/log'
import { acknowledge, markForked, nextPush, restamp } from '../local/outbox'
import { toHex } from '../protocol/bytes'
import { ProblemError, type FailureCode } from '../protocol/errors'
import { ERROR_CODES, type Push } from '../protocol/generated'
import type { Server } from './server'
import { isRunning } from './wait'

export class Pusher {
  constructor(
    private readonly db: AccountDatabase,
    private readonly server: Server,
    /** Told the last dseq of the push in flight, and null when none is. */
    private readonly onFlight: (lastDseq: number | null) => void,
  ) {}

  /** Pushes until the outbox is empty. Throws ProblemError with the code that keeps it from going on. */
  async drain(signal: AbortSignal): Promise<void> {
    let refusals = 0
    for (let push = await nextPush(this.db); push !== null; push = await nextPush(this.db)) {
      // Another tab may have taken over while this one was frozen.
      if (!isRunning(signal)) return
      const refusal = await this.push(push, signal)
      refusals = refusal === null ? 0 : refusals + 1
      if (refusal !== null) await this.recover(refusal, push, refusals)
    }
  }

  /** Returns why not all of the push was taken, or null. */
  private async push(push: Push, signal: AbortSignal): Promise<ProblemError | null> {
    this.onFlight(push.first_dseq + push.changes.length - 1)
    try {
      const pushed = await this.server.push(push, signal)
      await this.db.logTransaction(async () => {
        await acknowledge(this.db, pushed.acked_dseq)
        await dropScopes(this.db, (pushed.purged ?? []).map(toHex))
        await noteServer(this.db, pushed.server_ms, (await this.db.outbox.count()) === 0)
      })
      const refusal = pushed.rejected?.[0]
      return refusal === undefined ? null : asProblem(refusal.code)
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      const { acked_dseq: acked, server_ms: serverMs } = error.problem ?? {}
      if (typeof acked === 'number') await acknowledge(this.db, acked)
      if (typeof serverMs === 'number') await noteServer(this.db, serverMs, false)
      return error
    } finally {
      this.onFlight(null)
    }
  }

  /** Puts right what this device can put right by itself; throws what it can't. */
  private async recover(problem: ProblemError, push: Push, refusals: number): Promise<void> {
    switch (problem.code) {
      case 'clock_ahead':
        if (refusals > 1) throw problem
        return restamp(this.db)
      case 'epoch_changed':
        await beginAnew(this.db, 'history')
        throw problem
      case 'device_forked':
      case 'sequence_gap':
        // Another tab may have pushed more since this one read the outbox, and this push came late: both read the
        // same outbox, so that reading it again tells. A fork is what the server refuses of the outbox as it is.
        if (!isSamePlace(push, await nextPush(this.db))) return
        // What is missing before our changes was acknowledged once and is gone here: a gap is a fork as well.
        await markForked(this.db)
        throw new ProblemError('device_forked')
      default:
        throw problem
    }
  }
}

function isSamePlace(push: Push, next: Push | null): boolean {
  return next?.first_dseq === push.first_dseq && next.changes.length === push.changes.length
}

function asProblem(code: string): ProblemError {
  const known: FailureCode = ERROR_CODES.find((candidate) => candidate === code) ?? 'internal'
  return new ProblemError(known)
}
