/**
 * Serves the app itself when there is no network, and nothing else: what is not in the precache and no navigation
 * goes to the network untouched, and so do other origins.
 */
import { cleanupOutdatedCaches, createHandlerBoundToURL, precacheAndRoute } from 'workbox-precaching'
import { NavigationRoute, registerRoute } from 'workbox-routing'

declare const self: ServiceWorkerGlobalScope

const NOT_THE_APP = [/^\/api\//, /^\/relay\//, /^\/tunnel/, /^\/\.well-known\//, /^\/openapi\.json/, /^\/health/]

cleanupOutdatedCaches()
precacheAndRoute(self.__WB_MANIFEST)
registerRoute(new NavigationRoute(createHandlerBoundToURL('/index.html'), { denylist: NOT_THE_APP }))

self.addEventListener('message', (event) => {
  if ((event.data as { type?: unknown } | null)?.type === 'SKIP_WAITING') void self.skipWaiting()
})
