/**
 * Finds the part of a growing text that no further word can change.
 *
 * Only whole lines are looked at: "2" may yet become "2. …" and join the list above. A block is frozen once
 * another block has begun after a blank line, since what follows a blank line never reaches back over it, except
 * into the block it continues (a list, an open fence), and that one is then still the last.
 */
import type { MarkdownIt } from 'markdown-it'
import { parseBlocks } from './blocks'

const BLANK = /^[ \t]*$/

export class BlockFreezer {
  #frozen = ''
  #looked = 0

  constructor(private readonly parser: MarkdownIt) {}

  /** The text that stays as it is. */
  get frozen(): string {
    return this.#frozen
  }

  /**
   * Takes the text as it is now and returns what became frozen, '' for nothing. A text that is not the last one
   * with more after it begins anew; then `frozen` is only what was returned.
   */
  take(text: string): string {
    if (!text.startsWith(this.#frozen)) this.reset()
    const end = text.lastIndexOf('\n') + 1
    if (end <= this.#looked) return ''
    this.#looked = end
    const rest = text.slice(this.#frozen.length, end)
    const added = rest.slice(0, frozenLength(this.parser, rest))
    this.#frozen += added
    return added
  }

  reset(): void {
    this.#frozen = ''
    this.#looked = 0
  }
}

function frozenLength(parser: MarkdownIt, rest: string): number {
  const lines = rest.split('\n')
  const starts = parseBlocks(parser, rest).map((block) => block.line)
  const border = starts.findLast((line, index) => index > 0 && BLANK.test(lines[line - 1] ?? ''))
  if (border === undefined) return 0
  return lines.slice(0, border).reduce((length, line) => length + line.length + 1, 0)
}
