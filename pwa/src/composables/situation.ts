/**
 * What the whole interface reads of the open account: nodes, requests under way, what is unacknowledged, where sync
 * stands. Read once for the page, however many components ask: each bubble of a thread does.
 */
import { computed, effectScope, type ComputedRef } from 'vue'
import { readAccountSettings, type AccountSettings } from '../local/accountSettings'
import { readSync } from '../local/log'
import { readNodes, readPending, readUnacknowledged } from '../local/reads'
import type { AccountDatabase, PendingRecord, SyncState } from '../local/database'
import { readStrangeNodes } from '../local/nodeTrust'
import type { Node } from '../protocol/generated'
import { useDomovoi, type Domovoi } from '../stores/domovoi'
import { goneNodes } from '../sync/nodes'
import { useLiveQuery } from './liveQuery'
import { useNow } from './now'

const GONE_CHECK_MS = 5_000

export interface Situation {
  /** null until they have been read. */
  nodes: ComputedRef<readonly Node[] | null>
  /** Ids of nodes that stand in the place of others, and are not called. */
  strange: ComputedRef<ReadonlySet<string>>
  /** Ids of nodes whose runs show as interrupted (Q8). */
  gone: ComputedRef<ReadonlySet<string>>
  pending: ComputedRef<readonly PendingRecord[]>
  unacknowledged: ComputedRef<{ requests: ReadonlySet<string>; changes: number }>
  sync: ComputedRef<SyncState | null>
  /** What the account has settled for all of its devices; null until it has been read. */
  settings: ComputedRef<AccountSettings | null>
}

const situations = new WeakMap<Domovoi, Situation>()

export function useSituation(): Situation {
  const domovoi = useDomovoi()
  const known = situations.get(domovoi)
  if (known !== undefined) return known
  // Detached: it lasts as long as the page, not as the component that asked first.
  const situation = effectScope(true).run(() => readSituation(domovoi))
  if (situation === undefined) throw new Error('a new scope runs')
  situations.set(domovoi, situation)
  return situation
}

function readSituation({ engine }: Domovoi): Situation {
  const read = <Result>(query: (db: AccountDatabase) => Promise<Result>) =>
    useLiveQuery(() => {
      const db = engine.value?.db
      return db === undefined ? null : () => query(db)
    })
  const [nodes, strange, pending, unacknowledged, sync, settings] = [
    read(readNodes),
    read(readStrangeNodes),
    read(readPending),
    read(readUnacknowledged),
    read(readSync),
    read(readAccountSettings),
  ]
  const now = useNow(GONE_CHECK_MS)
  const gone = computed((before: ReadonlySet<string> = new Set()) => {
    // Without the server nobody can say how long a node has been gone.
    const isKnown = engine.value?.link.connection === 'up'
    const best = engine.value?.router.state.best ?? new Map()
    const found = isKnown
      ? goneNodes(nodes.value ?? [], best, now.value + (sync.value?.offsetMs ?? 0))
      : new Set<string>()
    // The same set again, so that nothing is rendered anew every few seconds.
    return found.size === before.size && [...found].every((id) => before.has(id)) ? before : found
  })
  return {
    nodes: computed(() => nodes.value),
    strange: computed(() => strange.value ?? new Set<string>()),
    gone,
    pending: computed(() => pending.value?.pending ?? []),
    unacknowledged: computed(() => unacknowledged.value ?? { requests: new Set<string>(), changes: 0 }),
    sync: computed(() => sync.value),
    settings: computed(() => settings.value),
  }
}
