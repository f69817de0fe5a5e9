/** Times, numbers and sizes in the reader's language. Pure; `now` and times are ms since 1970. */
const DAY_MS = 86_400_000
const KILO = 1024
const SIZE_UNITS = ['kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const

export interface Format {
  /** 18:46 */
  time: (at: number) => string
  /** For a list in groups by day: the time today and yesterday, the weekday within a week, else the date. */
  stamp: (at: number, now: number) => string
  /** For the line between two days: Today, Yesterday, else the date. */
  day: (at: number, now: number) => string
  /** today, 18:31 */
  moment: (at: number, now: number) => string
  /** in 12 seconds, 3 hours ago */
  distance: (at: number, now: number) => string
  /** 6 hours */
  duration: (milliseconds: number) => string
  number: (value: number) => string
  /** Seconds to two figures: 0.21, 3.5, 12 */
  seconds: (milliseconds: number) => string
  /** Tokens as people name them, in steps of 1,024: 16 k; other numbers whole */
  kilo: (tokens: number) => string
  /** 179 MB */
  size: (bytes: number) => string
}

/** Whole days between two moments by the calendar of the device; 0 for the same day. */
export function daysBetween(at: number, now: number): number {
  return Math.round((midnight(now) - midnight(at)) / DAY_MS)
}

function midnight(at: number): number {
  return new Date(at).setHours(0, 0, 0, 0)
}

/** Returns the first of the wished tags in this language, since en-GB and en-US tell the time differently. */
export function regionalTag(language: string, wished: readonly string[]): string {
  return wished.find((tag) => tag.toLowerCase().split('-')[0] === language) ?? language
}

const formats = new Map<string, Format>()

/** Returns the format of a language. One for all that ask: its makers from Intl cost more than a component's drawing. */
export function formatOf(language: string): Format {
  const format = formats.get(language) ?? createFormat(language)
  formats.set(language, format)
  return format
}

function createFormat(language: string): Format {
  const time = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' })
  const weekday = new Intl.DateTimeFormat(language, { weekday: 'short' })
  const date = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short' })
  const dateWithYear = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short', year: 'numeric' })
  const longDate = new Intl.DateTimeFormat(language, { weekday: 'long', day: 'numeric', month: 'long' })
  const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' })
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 })
  const twoFigures = new Intl.NumberFormat(language, { maximumSignificantDigits: 2 })
  const isThisYear = (at: number, now: number) => new Date(at).getFullYear() === new Date(now).getFullYear()
  const capital = (text: string) => text.charAt(0).toLocaleUpperCase(language) + text.slice(1)

  const near = (at: number, now: number) => {
    const days = daysBetween(at, now)
    return days === 0 || days === 1 ? relative.format(-days, 'day') : null
  }
  return {
    time: (at) => time.format(at),
    stamp(at, now) {
      const days = daysBetween(at, now)
      if (days <= 1) return time.format(at)
      if (days < 7) return weekday.format(at)
      return (isThisYear(at, now) ? date : dateWithYear).format(at)
    },
    day: (at, now) => capital(near(at, now) ?? (isThisYear(at, now) ? longDate : dateWithYear).format(at)),
    moment: (at, now) =>
      `${near(at, now) ?? (isThisYear(at, now) ? date : dateWithYear).format(at)}, ${time.format(at)}`,
    distance(at, now) {
      const { value, unit } = inUnits(at - now)
      return relative.format(value, unit)
    },
    duration(milliseconds) {
      const { value, unit } = inUnits(milliseconds)
      return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(value)
    },
    number: (value) => whole.format(value),
    kilo: (tokens) =>
      tokens >= KILO && tokens % KILO === 0 ? `${whole.format(tokens / KILO)}\u00A0k` : whole.format(tokens),
    seconds: (milliseconds) => twoFigures.format(milliseconds / 1000),
    size(bytes) {
      const kilobytes = bytes / 1000
      const power = kilobytes < 1 ? 0 : Math.min(SIZE_UNITS.length - 1, Math.floor(Math.log10(kilobytes) / 3))
      const unit = SIZE_UNITS[power] ?? 'kilobyte'
      const options = { style: 'unit', unit, unitDisplay: 'short', maximumSignificantDigits: 3 } as const
      return new Intl.NumberFormat(language, options).format(kilobytes / 1000 ** power)
    },
  }
}

function inUnits(milliseconds: number): { value: number; unit: 'second' | 'minute' | 'hour' | 'day' } {
  const seconds = Math.abs(milliseconds) / 1000
  const sign = Math.sign(milliseconds)
  const of = (size: number) => sign * Math.max(1, Math.round(seconds / size))
  if (seconds < 60) return { value: sign * Math.ceil(seconds), unit: 'second' }
  if (seconds < 3600) return { value: of(60), unit: 'minute' }
  if (seconds < 86_400) return { value: of(3600), unit: 'hour' }
  return { value: of(86_400), unit: 'day' }
}
