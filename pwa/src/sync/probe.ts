/** A sign of life from a node. At an address of its own only what opens a seal counts for it (rule D5). */
import { hasCode } from '../protocol/errors'
import { call, type Fetch } from './http'
import type { Probe } from './router'
import { StrangerError, type SealedCalls } from './sealedCalls'
import type { Server } from './server'

/** What /healthz says of an engine that can't answer now. */
const ENGINE_TROUBLE = [
  ...(['engine_unavailable', 'engine_loading', 'engine_failed', 'out_of_memory'] as const),
  ...(['model_missing', 'model_damaged', 'unsupported'] as const),
]

export function nodeProbe(fetcher: Fetch, server: Server, calls: SealedCalls): Probe {
  return async (route, signal) => {
    const isRelay = route.kind === 'relay'
    const headers = isRelay ? await server.authorization() : {}
    try {
      await call(isRelay ? fetcher : calls.fetcher(route), `${route.base}/healthz`, { headers, signal })
    } catch (error) {
      if (error instanceof StrangerError) return 'stranger'
      // The node answers; that its engine is not ready is told by its status and does not close the way.
      if (!hasCode(error, ...ENGINE_TROUBLE)) throw error
    }
    return 'open'
  }
}
