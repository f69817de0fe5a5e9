/**
 * What others wrote, told to this tab's screen as soon as it has been merged. The server has it, so it may be seen while
 * it is still being written here; where that fails it goes again, and comes back with the next pull.
 */
import Dexie from 'dexie'
import type { Snapshot } from './conversations'
import type { SummaryRecord } from './database'

export interface Preview {
  /** The conversation's revision that it follows. */
  after: number
  snapshot: Snapshot
  summary: SummaryRecord
}

/** Told what will be committed, and null when it will not. */
type Listener = (preview: Preview | null) => void

export class Previews {
  private readonly byScope = new Map<string, Set<Listener>>()

  /** Calls `listener` until the function returned is called. */
  watch(scope: string, listener: Listener): () => void {
    const listeners = this.byScope.get(scope) ?? new Set()
    this.byScope.set(scope, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.byScope.delete(scope)
    }
  }

  /** Tells of a conversation in the transaction that writes it. */
  tell(scope: string, preview: Preview): void {
    const listeners = this.byScope.get(scope)
    if (listeners === undefined) return
    // What they read is none of the transaction's business.
    const all = (told: Preview | null) => {
      Dexie.ignoreTransaction(() => {
        for (const listener of [...listeners]) listener(told)
      })
    }
    let transaction = Dexie.currentTransaction
    while (transaction.parent) transaction = transaction.parent
    transaction.on('abort', () => {
      all(null)
    })
    all(preview)
  }
}
