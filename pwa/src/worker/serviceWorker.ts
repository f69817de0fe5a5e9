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

/** The Static Routing API, which TypeScript does not know yet. */
interface RoutedInstallEvent extends ExtendableEvent {
  addRoutes?: (rules: { condition: { urlPattern: string }; source: 'network' }[]) => Promise<void>
}

self.addEventListener('install', (event: RoutedInstallEvent) => {
  // Where the browser can, calls go past this worker without waking it first: that takes longer than many an answer.
  const routed = event.addRoutes?.(
    ['/api/*', '/relay/*'].map((urlPattern) => ({ condition: { urlPattern }, source: 'network' })),
  )
  if (routed !== undefined) event.waitUntil(routed)
})

self.addEventListener('message', (event) => {
  // The page sends this when the person has chosen to restart.
  if ((event.data as { type?: string } | null)?.type === 'SKIP_WAITING') void self.skipWaiting()
})
