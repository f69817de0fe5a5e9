/** An answer as blocks of HTML: finished ones stay untouched in the page while the last one grows. */
import type { MarkdownIt } from 'markdown-it'
import { onScopeDispose, shallowRef, watch, type ShallowRef } from 'vue'
import { normalise, renderBlocks, type Block } from './blocks'
import { BlockFreezer } from './freezer'
import { highlight, loadLanguages } from './highlight'
import { Pacer } from './pacer'
import { createParser, type MarkdownLabels } from './parser'

export interface MarkdownSource {
  text: string
  isGrowing: boolean
  labels: MarkdownLabels
}

/** Returns the HTML of each block, not yet sanitized. Ends with its scope. */
export function useMarkdown(source: () => MarkdownSource): Readonly<ShallowRef<readonly string[]>> {
  const shown = shallowRef<readonly string[]>([])
  let labels = source().labels
  let parser: MarkdownIt = createParser(labels, highlight)
  let freezer = new BlockFreezer(parser)
  let finished: Block[] = []
  let tail: Block[] = []
  let isDisposed = false

  const publish = () => {
    shown.value = [...finished, ...tail].map((block) => block.html)
  }
  const colour = async (blocks: readonly Block[]) => {
    const wanted = new Set(blocks.flatMap((block) => [...block.languages]))
    if (wanted.size === 0 || !(await loadLanguages(wanted)) || isDisposed) return
    finished = finished.flatMap((block) =>
      block.languages.size === 0 ? [block] : renderBlocks(parser, block.source, false),
    )
    publish()
  }
  const freeze = (text: string) => {
    const added = freezer.take(text)
    if (freezer.frozen === added) finished = []
    if (added === '') return
    const blocks = renderBlocks(parser, added, false)
    finished = [...finished, ...blocks]
    void colour(blocks)
  }
  const finish = (text: string) => {
    freezer.reset()
    finished = renderBlocks(parser, text, false)
    void colour(finished)
  }
  const draw = () => {
    const { text, isGrowing } = source()
    const whole = normalise(text)
    if (isGrowing) freeze(whole)
    else finish(whole)
    tail = isGrowing ? renderBlocks(parser, whole.slice(freezer.frozen.length), true) : []
    publish()
  }
  const pacer = new Pacer(draw)
  watch(
    source,
    (now) => {
      if (now.labels.copy !== labels.copy) {
        labels = now.labels
        parser = createParser(labels, highlight)
        freezer = new BlockFreezer(parser)
        finished = []
      }
      if (now.isGrowing) pacer.request()
      else pacer.flush()
    },
    { immediate: true },
  )
  onScopeDispose(() => {
    isDisposed = true
    pacer.stop()
  })
  return shown
}
