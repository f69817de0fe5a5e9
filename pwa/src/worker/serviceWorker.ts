/// <reference lib="WebWorker" />
/**
 * Serves the app's own files and its page for navigations, nothing else: requests for the API, the relay or
 * another origin are never answered here.
 */
import { cleanupOutdatedCaches, createHandlerBoundToURL, precacheAndRoute } from 'workbox-precaching'
import { NavigationRoute, registerRoute } from 'workbox-routing'

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: { url: string; revision: string | null }[] }

/** Addresses that belong to the server, even when a person opens them in the browser. */
const SERVER_PATHS = [/^\/(?:api|relay|tunnel|v1|\.well-known|healthz|readyz|metrics|openapi\.json)(?:\/|$)/]

precacheAndRoute(self.__WB_MANIFEST)
cleanupOutdatedCaches()
registerRoute(new NavigationRoute(createHandlerBoundToURL('index.html'), { denylist: SERVER_PATHS }))

self.addEventListener('message', (event) => {
  // The page sends this when the person has chosen to restart.
  if ((event.data as { type?: string } | null)?.type === 'SKIP_WAITING') void self.skipWaiting()
})
