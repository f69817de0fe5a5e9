/**
 * Serves the app itself when there is no network, and nothing else: what is neither in the precache nor a
 * navigation goes to the network untouched, and so do other origins.
 */
import { cleanupOutdatedCaches, createHandlerBoundToURL, precacheAndRoute } from 'workbox-precaching'
import { NavigationRoute, registerRoute } from 'workbox-routing'

/** What is used of a worker's global; the whole of it can't be typed beside a page's. */
interface WorkerScope {
  __WB_MANIFEST: Parameters<typeof precacheAndRoute>[0]
  skipWaiting: () => Promise<void>
  addEventListener: (type: 'message', listener: (event: MessageEvent<unknown>) => void) => void
}
declare const self: WorkerScope

const NOT_THE_APP = [/^\/(?:api|relay|tunnel|\.well-known|health|docs)(?:\/|$)/, /^\/openapi\.json$/]

cleanupOutdatedCaches()
precacheAndRoute(self.__WB_MANIFEST)
registerRoute(new NavigationRoute(createHandlerBoundToURL('/index.html'), { denylist: NOT_THE_APP }))

self.addEventListener('message', ({ data }) => {
  const isOurs = typeof data === 'object' && data !== null && 'type' in data
  if (isOurs && data.type === 'SKIP_WAITING') void self.skipWaiting()
})
