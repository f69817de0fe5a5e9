/** What several composables read of the open account: nodes, requests under way, what is unacknowledged. */
import { computed, type ComputedRef } from 'vue'
import { readSync } from '../local/log'
import { readNodes, readPending, readUnacknowledged } from '../local/reads'
import type { PendingRecord } from '../local/database'
import type { Node } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import { goneNodes } from '../sync/nodes'
import { useLiveQuery } from './liveQuery'
import { useNow } from './now'

const GONE_CHECK_MS = 5_000
const NOTHING: { requests: ReadonlySet<string>; changes: number } = { requests: new Set<string>(), changes: 0 }

export function useNodes(): ComputedRef<readonly Node[] | null> {
  const { engine } = useDomovoi()
  const nodes = useLiveQuery(() => {
    const db = engine.value?.db
    return db === undefined ? null : () => readNodes(db)
  })
  return computed(() => nodes.value)
}

/** Ids of nodes whose runs show as interrupted (Q8). */
export function useGoneNodes(nodes: ComputedRef<readonly Node[] | null>): ComputedRef<ReadonlySet<string>> {
  const { engine } = useDomovoi()
  const now = useNow(GONE_CHECK_MS)
  const sync = useLiveQuery(() => {
    const db = engine.value?.db
    return db === undefined ? null : () => readSync(db)
  })
  return computed((before: ReadonlySet<string> = new Set()) => {
    // Without the server nobody can say how long a node has been gone.
    const isKnown = engine.value?.link.connection === 'up'
    const best = engine.value?.router.state.best ?? new Map()
    const gone = isKnown
      ? goneNodes(nodes.value ?? [], best, now.value + (sync.value?.offsetMs ?? 0))
      : new Set<string>()
    // The same set again, so that nothing is rendered anew every few seconds.
    return gone.size === before.size && [...gone].every((id) => before.has(id)) ? before : gone
  })
}

export function usePending(): ComputedRef<readonly PendingRecord[]> {
  const { engine } = useDomovoi()
  const pending = useLiveQuery(() => {
    const db = engine.value?.db
    return db === undefined ? null : () => readPending(db)
  })
  return computed(() => pending.value?.pending ?? [])
}

export function useUnacknowledged(): ComputedRef<{ requests: ReadonlySet<string>; changes: number }> {
  const { engine } = useDomovoi()
  const unacknowledged = useLiveQuery(() => {
    const db = engine.value?.db
    return db === undefined ? null : () => readUnacknowledged(db)
  })
  return computed(() => unacknowledged.value ?? NOTHING)
}
