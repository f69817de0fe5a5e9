/** What kind of device this is, as far as its browser says. */
export type DeviceKind = 'phone' | 'tablet' | 'computer'

const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/iphone/i, 'iPhone'],
  [/ipad/i, 'iPad'],
  [/android/i, 'Android'],
  [/cros/i, 'ChromeOS'],
  [/windows/i, 'Windows'],
  [/mac os/i, 'Mac'],
  [/linux/i, 'Linux'],
]

export function deviceKind(userAgent: string): DeviceKind {
  if (/ipad|tablet/i.test(userAgent) || (/android/i.test(userAgent) && !/mobile/i.test(userAgent))) return 'tablet'
  return /iphone|mobile/i.test(userAgent) ? 'phone' : 'computer'
}

export function deviceSystem(userAgent: string): string | null {
  return SYSTEMS.find(([pattern]) => pattern.test(userAgent))?.[1] ?? null
}
