/** Registers the worker. A newer app waits until the person says so: nothing reloads under their hands. */
import { offer } from '@/interface/toasts'

const HOUR_MS = 3_600_000

export function registerWorker(t: (key: string) => string): void {
  // Absent on plain http origins other than localhost.
  if (!('serviceWorker' in navigator) || import.meta.env.DEV) return
  void watchWorker(t)
}

async function watchWorker(t: (key: string) => string): Promise<void> {
  const registration = await navigator.serviceWorker.register('/serviceWorker.js')
  const offerRestart = (waiting: ServiceWorker) => {
    offer(t('update.ready'), t('update.restart'), () => {
      navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true })
      waiting.postMessage({ type: 'SKIP_WAITING' })
    })
  }
  if (registration.waiting !== null && navigator.serviceWorker.controller !== null) offerRestart(registration.waiting)
  registration.addEventListener('updatefound', () => {
    const found = registration.installing
    found?.addEventListener('statechange', () => {
      // Without a controller this is the first install, not an update.
      if (found.state === 'installed' && navigator.serviceWorker.controller !== null) offerRestart(found)
    })
  })
  setInterval(() => {
    if (navigator.onLine) void registration.update()
  }, HOUR_MS)
}
