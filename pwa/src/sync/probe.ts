/** A sign of life from a node. */
import { hasCode } from '../protocol/errors'
import { call, type Fetch } from './http'
import type { Probe } from './router'
import type { Server } from './server'

/** What /healthz says of an engine that can't answer now. */
const ENGINE_TROUBLE = [
  ...(['engine_unavailable', 'engine_loading', 'engine_failed', 'out_of_memory'] as const),
  ...(['model_missing', 'model_damaged', 'unsupported'] as const),
]

export function healthProbe(fetcher: Fetch, server: Server): Probe {
  return async (route, signal) => {
    const headers = route.kind === 'relay' ? await server.authorization() : {}
    try {
      await call(fetcher, `${route.base}/healthz`, { headers, signal })
    } catch (error) {
      // The node answers; that its engine is not ready is told by its status and does not close the way.
      if (!hasCode(error, ...ENGINE_TROUBLE)) throw error
    }
    return 'open'
  }
}
