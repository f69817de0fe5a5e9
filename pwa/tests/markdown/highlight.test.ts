import { describe, expect, it } from 'vitest'
import { highlight, loadLanguages } from '@/markdown/highlight'

describe('colours for code', () => {
  it('come once their language is loaded, under any of its names', async () => {
    expect(highlight('def f(): pass', 'py')).toBeNull()
    expect(await loadLanguages(['py', 'klingon'])).toBe(true)
    expect(highlight('def f(): pass', 'Python')).toContain('hljs-keyword')
    expect(await loadLanguages(['python'])).toBe(false)
  })

  it('stay away where the language is unknown', async () => {
    await loadLanguages(['klingon'])
    expect(highlight('nuqneH', 'klingon')).toBeNull()
    expect(highlight('x', '')).toBeNull()
    expect(highlight('x', 'constructor')).toBeNull()
  })

  it('escape the code', async () => {
    await loadLanguages(['python'])
    expect(highlight('"<img src=x>"', 'python')).toContain('&lt;img')
  })
})
