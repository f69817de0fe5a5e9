/** Registers the worker. A newer app waits until the person says so: nothing reloads under their hands. */
import { offer } from '@/interface/toasts'

const HOUR_MS = 3_600_000

export function registerWorker(t: (key: string) => string): void {
  // Absent on plain http origins other than localhost.
  if (!('serviceWorker' in navigator) || import.meta.env.DEV) return
  watchWorker(t).catch((error: unknown) => {
    // Refused, for example where the certificate is not trusted: the app works, but not without a network.
    console.info('Domovoi does not open offline here.', error)
  })
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
  const look = async () => {
    try {
      await registration.update()
    } catch (error) {
      // Nothing answered; the next look is in an hour.
      if (!(error instanceof TypeError)) throw error
    }
  }
  setInterval(() => void look(), HOUR_MS)
}
