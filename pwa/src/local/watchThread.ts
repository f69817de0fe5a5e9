/** A conversation as the screen follows it. */
import type { AccountDatabase } from './database'
import { readThread, type StoredThread } from './reads'
import { watchQuery } from './watchQuery'

/**
 * Calls `next` with a conversation now and whenever something of it has changed in any tab, until the function returned
 * is called. What this tab pulls is told before it is committed (`previews.ts`), and taken back if it never is.
 */
export function watchThread(db: AccountDatabase, id: string, next: (thread: StoredThread) => void): () => void {
  let shown: StoredThread | null = null
  /** What to go back to if what is shown is not committed. */
  let committed: StoredThread | null = null
  const show = (thread: StoredThread, before: StoredThread | null) => {
    shown = thread
    committed = before
    next(thread)
  }
  const stopPreviews = db.previews.watch(id, (preview) => {
    if (preview === null) {
      if (committed !== null) show(committed, null)
    } else if (shown === null || preview.after !== revisionOf(shown)) {
      // What it follows has not been read yet: it comes with that. One at a time is written, so the last is committed.
      committed = null
    } else {
      const { conversation, messages } = preview.snapshot
      show({ ...shown, conversation, messages, summary: preview.summary }, shown)
    }
  })
  const stopQuery = watchQuery(
    () => readThread(db, id),
    (thread) => {
      if (shown === null || revisionOf(thread) >= revisionOf(shown)) show(thread, null)
      // Read before what is shown was committed, and read again after that.
      else if (committed !== null && revisionOf(thread) >= revisionOf(committed)) committed = thread
    },
  )
  return () => {
    stopPreviews()
    stopQuery()
  }
}

function revisionOf({ summary }: StoredThread): number {
  return summary?.revision ?? 0
}
