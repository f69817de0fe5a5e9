/** What follows a transaction. */
import Dexie from 'dexie'

/** Does `work` once what the current transaction writes is committed, or at once where it only reads. */
export function whenCommitted(work: () => void): void {
  let transaction = Dexie.currentTransaction
  while (transaction.parent) transaction = transaction.parent
  if (transaction.mode === 'readonly') work()
  else transaction.on('complete', work)
}
