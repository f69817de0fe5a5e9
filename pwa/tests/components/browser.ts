/** What jsdom lacks of a browser. */
import { vi } from 'vitest'

class SilentObserver {
  observe = vi.fn()
  unobserve = vi.fn()
  disconnect = vi.fn()
}

/** `isWide`: room for the sidebar; `isCoarse`: fingers. */
export function furnishBrowser({ isWide = false, isCoarse = false } = {}): void {
  vi.stubGlobal('ResizeObserver', SilentObserver)
  vi.stubGlobal('CSS', { supports: () => true, escape: (text: string) => text.replace(/([^\w-])/g, '\\$1') })
  vi.stubGlobal('matchMedia', (query: string) => ({
    matches: query.includes('coarse') ? isCoarse : query.includes('min-width') && isWide,
    addEventListener: vi.fn(),
    removeEventListener: vi.fn(),
  }))
  Object.assign(HTMLElement.prototype, { showPopover: vi.fn(), hidePopover: vi.fn(), scrollTo: vi.fn() })
  Object.assign(HTMLDialogElement.prototype, {
    showModal(this: HTMLDialogElement) {
      this.open = true
    },
    close(this: HTMLDialogElement) {
      this.open = false
      this.dispatchEvent(new Event('close'))
    },
  })
}
