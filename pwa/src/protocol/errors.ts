/**
 * Errors by code: the closed set of shared/errors.py, and some of this device's own: `offline` for a network that gives
 * no answer, `device_full` for a browser that has no room left, `sealing_unavailable` for one that can't seal, and
 * `node_key_changed` for a PC that has taken the place of another.
 */
import type { ErrorCode, Problem } from './generated'

export type FailureCode = ErrorCode | 'offline' | 'device_full' | 'sealing_unavailable' | 'node_key_changed'

/** Refusals that pass by themselves in a moment: whoever gets one tries again soon. */
export const PASSING: readonly FailureCode[] = ['database_unavailable', 'too_busy']

/** Thrown by every layer; `code` is what the interface translates. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError'

  constructor(
    readonly code: FailureCode,
    detail: string = code,
    readonly problem: Problem | null = null,
  ) {
    super(detail)
  }
}

/** Says whether `error` is a problem with one of these codes. */
export function hasCode(error: unknown, ...codes: FailureCode[]): error is ProblemError {
  return error instanceof ProblemError && codes.includes(error.code)
}
