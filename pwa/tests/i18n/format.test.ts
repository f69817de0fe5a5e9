import { describe, expect, it } from 'vitest'
import { formatOf, daysBetween, regionalTag } from '@/i18n/format'

const now = new Date(2026, 5, 10, 18, 46).getTime()
const at = (day: number, hours: number, minutes: number, year = 2026) =>
  new Date(year, 5, day, hours, minutes).getTime()
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, ' ')
const english = formatOf('en-GB')
const russian = formatOf('ru')

describe('times', () => {
  it('stand in a list as is needed to tell them apart', () => {
    expect(english.stamp(at(10, 9, 40), now)).toBe('09:40')
    expect(english.stamp(at(9, 21, 14), now)).toBe('21:14')
    expect(english.stamp(at(6, 12, 0), now)).toBe('Sat')
    expect(english.stamp(at(1, 12, 0), now)).toBe('1 Jun')
    expect(english.stamp(at(1, 12, 0, 2024), now)).toBe('1 Jun 2024')
  })

  it('are told in words', () => {
    expect(english.day(at(10, 1, 0), now)).toBe('Today')
    expect(russian.day(at(9, 23, 0), now)).toBe('Вчера')
    expect(english.moment(at(10, 18, 31), now)).toBe('today, 18:31')
    expect(russian.moment(at(10, 18, 31), now)).toBe('сегодня, 18:31')
    expect(english.distance(now + 12_000, now)).toBe('in 12 seconds')
    expect(english.duration(6 * 3_600_000)).toBe('6 hours')
    expect(plain(russian.duration(3 * 3_600_000))).toBe('3 часа')
  })

  it('count days by the calendar, not by hours', () => {
    expect(daysBetween(at(9, 23, 59), at(10, 0, 1))).toBe(1)
    expect(daysBetween(at(10, 0, 1), at(10, 23, 59))).toBe(0)
  })

  it('follow the region of the device, where it speaks the language', () => {
    expect(regionalTag('en', ['de-DE', 'en-GB', 'en-US'])).toBe('en-GB')
    expect(regionalTag('ru', ['en-GB'])).toBe('ru')
  })
})

describe('figures', () => {
  it('have the unit and the marks of the language', () => {
    expect(plain(english.size(179_400_000))).toBe('179 MB')
    expect(plain(english.size(120))).toBe('0.12 kB')
    expect(plain(russian.size(2_100_000_000))).toBe('2,1 ГБ')
    expect(english.seconds(212)).toBe('0.21')
    expect(russian.seconds(3_500)).toBe('3,5')
    expect(plain(russian.number(12_408))).toBe('12 408')
  })
})
