import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { normalise, renderBlocks } from '@/markdown/blocks'
import { BlockFreezer } from '@/markdown/freezer'
import { createParser } from '@/markdown/parser'

const parser = createParser({ copy: 'Copy', opensElsewhere: 'opens elsewhere' }, () => null)
const render = (text: string) => renderBlocks(parser, text, false).map((block) => block.html)

/** Pieces that begin, continue, end or nearly begin a block, in every order. */
const piece = fc.constantFrom(
  ...['word', ' ', '\n', '\n\n', '\n\n\n', '  ', '    ', '\t', '- ', '-', '* ', '1. ', '2', '2. ', '1) ', '+ '],
  ...['> ', '>', '# ', '## x', '#', '```', '```py\n', '~~~', '---', '===', '***', '| a | b |', '| --- | ---: |'],
  ...['**bold**', '`code`', '[x](https://x.org)', '![p](https://x.org/p)', '[x]: https://x.org', '<div>', '&amp;'],
  ...['\r\n', '\r', '\u00a0', '\u2028', '\0', 'https://example.org', '\\', 'ё', '🔥'],
)
const document = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''))

describe('a growing text', () => {
  it('renders the same frozen and tail by tail as in one piece', () => {
    fc.assert(
      fc.property(document, fc.array(fc.nat(), { maxLength: 12 }), (text, cuts) => {
        const freezer = new BlockFreezer(parser)
        const frozen: string[] = []
        const ends = [...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b)
        for (const end of ends) {
          const grown = normalise(text.slice(0, end))
          const added = freezer.take(grown)
          if (added !== '') frozen.push(...render(added))
        }
        const tail = render(normalise(text).slice(freezer.frozen.length))
        expect([...frozen, ...tail]).toEqual(render(normalise(text)))
      }),
      { numRuns: 3000 },
    )
  })

  it('gives blocks that put together are what the parser makes of the whole', () => {
    fc.assert(
      fc.property(document, (text) => {
        const whole = normalise(text)
        const rendering = { isGrowing: false, languages: new Set<string>() }
        expect(render(whole).join('')).toBe(parser.render(whole, { rendering }))
      }),
      { numRuns: 1000 },
    )
  })

  it('freezes a block once another has begun after a blank line, and no sooner', () => {
    const freezer = new BlockFreezer(parser)
    expect(freezer.take('One.\n')).toBe('')
    expect(freezer.take('One.\n\n')).toBe('')
    expect(freezer.take('One.\n\nTw')).toBe('')
    expect(freezer.take('One.\n\nTwo.\n')).toBe('One.\n\n')
    expect(freezer.frozen).toBe('One.\n\n')
  })

  it('keeps a list and an open fence whole', () => {
    const freezer = new BlockFreezer(parser)
    expect(freezer.take('- a\n\n- b\n\n')).toBe('')
    expect(freezer.take('- a\n\n- b\n\n```\n\nx\n\n')).toBe('- a\n\n- b\n\n')
  })

  it('begins anew when the text is another', () => {
    const freezer = new BlockFreezer(parser)
    freezer.take('One.\n\nTwo.\n')
    expect(freezer.take('Other.\n\nText.\n')).toBe('Other.\n\n')
    expect(freezer.frozen).toBe('Other.\n\n')
  })
})
