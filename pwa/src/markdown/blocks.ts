/** The top-level blocks of a text. Rendered one after the other they are the whole. */
import type { MarkdownIt, Token } from 'markdown-it'
import type { RenderEnvironment } from './parser'

export interface Block {
  source: string
  html: string
  languages: ReadonlySet<string>
}

interface ParsedBlock {
  tokens: Token[]
  /** Index of the first line. */
  line: number
}

/** Returns the line ends as Markdown sees them. */
export function normalise(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(/\0/g, '\uFFFD')
}

export function parseBlocks(parser: MarkdownIt, source: string): ParsedBlock[] {
  const blocks: ParsedBlock[] = []
  let depth = 0
  for (const token of parser.parse(source, {})) {
    if (depth === 0) blocks.push({ tokens: [], line: token.map?.[0] ?? 0 })
    blocks.at(-1)?.tokens.push(token)
    depth += token.nesting
  }
  return blocks
}

/** Renders a text block by block. `source` has been normalised. */
export function renderBlocks(parser: MarkdownIt, source: string, isGrowing: boolean): Block[] {
  const lines = source.split('\n')
  const parsed = parseBlocks(parser, source)
  return parsed.map(({ tokens, line }, index) => {
    const rendering: RenderEnvironment = { isGrowing, languages: new Set() }
    return {
      source: lines.slice(line, parsed[index + 1]?.line).join('\n'),
      html: parser.renderer.render(tokens, parser.options, { rendering }),
      languages: rendering.languages,
    }
  })
}
