/** Markdown as Domovoi shows it. What comes out has still to pass `sanitize`. */
import createMarkdown, { type MarkdownIt, type Token } from 'markdown-it'

export interface MarkdownLabels {
  copy: string
  opensElsewhere: string
}

/** What one rendering is told and tells. */
export interface RenderEnvironment {
  /** Code that still grows is not coloured: it would be coloured anew at each word. */
  isGrowing: boolean
  /** Languages of code in the rendered text, in the words of the fences. */
  languages: Set<string>
}

/** Returns code as coloured HTML; null where the language is unknown or not loaded yet. */
export type Highlighter = (code: string, language: string) => string | null

const SAFE_LINK = /^(?:https?:\/\/|mailto:)/i

export function createParser(labels: MarkdownLabels, highlight: Highlighter): MarkdownIt {
  const parser = createMarkdown({ html: false, linkify: true, breaks: true })
  // A definition could change blocks far above it, which are frozen by then; answers hardly use them.
  parser.disable('reference')
  // Without a scheme, rename_photos.py would become a link to Paraguay.
  parser.linkify.set({ fuzzyLink: false })
  parser.validateLink = (address) => SAFE_LINK.test(address.trim())
  const { escapeHtml } = parser.utils
  const { rules } = parser.renderer

  const openLink = (address: string) =>
    `<a href="${escapeHtml(address)}" target="_blank" rel="noopener noreferrer" dir="auto">`
  const closeLink = `<span class="sr"> (${escapeHtml(labels.opensElsewhere)})</span></a>`

  rules['link_open'] = (tokens, index) => openLink(attribute(tokens, index, 'href'))
  rules['link_close'] = () => closeLink
  // A picture from elsewhere would tell elsewhere who reads this.
  rules['image'] = (tokens, index) => {
    const address = attribute(tokens, index, 'src')
    const name = escapeHtml(tokens[index]?.content.trim() || address)
    return isInsideLink(tokens, index) ? name : `${openLink(address)}${name}${closeLink}`
  }
  rules['fence'] = (tokens, index, _options, environment) => {
    const language = tokens[index]?.info.trim().split(/\s+/)[0] ?? ''
    return codeBlock(tokens[index]?.content ?? '', language, environment?.['rendering'] as RenderEnvironment)
  }
  rules['code_block'] = (tokens, index, _options, environment) =>
    codeBlock(tokens[index]?.content ?? '', '', environment?.['rendering'] as RenderEnvironment)
  rules['table_open'] = () => '<div class="table-box" tabindex="0"><table>\n'
  rules['table_close'] = () => '</table></div>\n'
  rules['th_open'] = rules['td_open'] = (tokens, index) => {
    const tag = tokens[index]?.tag ?? 'td'
    const side = /text-align:(center|right)/.exec(attribute(tokens, index, 'style'))?.[1]
    return `<${tag} dir="auto"${side === undefined ? '' : ` class="align-${side}"`}>`
  }
  for (const rule of ['paragraph_open', 'heading_open', 'list_item_open', 'blockquote_open']) {
    const usual = rules[rule]
    rules[rule] = (tokens, index, options, environment, renderer) => {
      tokens[index]?.attrSet('dir', 'auto')
      return usual?.(tokens, index, options, environment, renderer) ?? renderer.renderToken(tokens, index, options)
    }
  }

  function codeBlock(code: string, language: string, { isGrowing, languages }: RenderEnvironment): string {
    if (language !== '' && !isGrowing) languages.add(language)
    const coloured = isGrowing ? null : highlight(code, language)
    return (
      `<div class="code" dir="ltr"><div class="code-head"><span>${escapeHtml(language)}</span>` +
      `<button type="button" class="copy">${escapeHtml(labels.copy)}</button></div>` +
      `<pre tabindex="0"><code>${coloured ?? escapeHtml(code)}</code></pre></div>\n`
    )
  }
  return parser
}

function attribute(tokens: Token[], index: number, name: string): string {
  return String(tokens[index]?.attrGet(name) ?? '')
}

function isInsideLink(tokens: Token[], index: number): boolean {
  const before = tokens.slice(0, index)
  const count = (type: string) => before.filter((token) => token.type === type).length
  return count('link_open') > count('link_close')
}
