import { describe, expect, it } from 'vitest'
import { createStable } from '@/components/thread/stable'
import { answered, said } from './house'

describe('messages that did not change', () => {
  it('stay the same objects while another grows', () => {
    const createdAt = 1
    const make = (text: string) => [
      said('a', 'Q', { createdAt }),
      { ...answered('b', 'A', {}, ['b', 'c']), createdAt },
      { ...answered('d', text, { state: 'running' }), createdAt },
    ]
    const stable = createStable()
    const first = stable(make('It'))
    const second = stable(make('It is'))
    expect(second[0]).toBe(first[0])
    expect(second[1]).toBe(first[1])
    expect(second[2]?.text).toBe('It is')
  })

  it('give way to any difference, however deep', () => {
    const stable = createStable()
    const [first] = stable([answered('b', 'A', {}, ['b'])])
    const [second] = stable([answered('b', 'A', {}, ['b', 'c'])])
    const [third] = stable([answered('b', 'A', { tokens: 213 }, ['b', 'c'])])
    expect(second).not.toBe(first)
    expect(third).not.toBe(second)
  })
})
