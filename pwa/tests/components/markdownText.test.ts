// @vitest-environment jsdom
import { flushPromises } from '@vue/test-utils'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import MarkdownText from '@/components/markdown/MarkdownText.vue'
import { furnishBrowser } from './browser'
import { open } from './page'

beforeEach(() => {
  document.body.innerHTML = ''
  furnishBrowser()
})

const blocks = () => [...document.querySelectorAll('.block')]

describe('an answer on the page', () => {
  it('leaves finished blocks untouched while the last one grows', async () => {
    const { wrapper } = await open(MarkdownText, '/lost', { text: '', isGrowing: true })
    await wrapper.setProps({ text: 'One *block*.\n\nTwo.\n', isGrowing: true })
    await vi.waitFor(() => expect(blocks()).toHaveLength(2))
    const first = blocks()[0]?.firstElementChild
    await wrapper.setProps({ text: 'One *block*.\n\nTwo.\n\nThree' })
    await vi.waitFor(() => expect(blocks()).toHaveLength(3))
    expect(blocks()[0]?.firstElementChild).toBe(first)
    expect(wrapper.classes()).toContain('growing')
    await wrapper.setProps({ text: 'One *block*.\n\nTwo.\n\nThree.', isGrowing: false })
    expect(blocks()[0]?.firstElementChild).toBe(first)
    expect(wrapper.classes()).not.toContain('growing')
  })

  it('colours code once it is finished, and copies it as it was written', async () => {
    const writeText = vi.fn<(text: string) => Promise<void>>(() => Promise.resolve())
    Object.assign(navigator, { clipboard: { writeText } })
    const { wrapper } = await open(MarkdownText, '/lost', { text: '', isGrowing: true })
    await wrapper.setProps({ text: '```rust\nfn main() {}\n```', isGrowing: false })
    await vi.waitFor(() => expect(wrapper.find('.hljs-keyword').exists()).toBe(true))
    await wrapper.get('button.copy').trigger('click')
    await flushPromises()
    expect(writeText).toHaveBeenCalledWith('fn main() {}\n')
  })

  it('leads nowhere before a person has seen the whole address and said yes', async () => {
    const go = vi.spyOn(window, 'open').mockReturnValue(null)
    const address = 'https://evil.example/?q=what%20was%20said'
    const { wrapper, press } = await open(MarkdownText, '/lost', { text: `[the manual](${address})`, isGrowing: false })
    await vi.waitFor(() => expect(wrapper.find('a').exists()).toBe(true))
    for (const [event, button] of [
      ['click', 0],
      ['auxclick', 1],
    ] as const) {
      const pressed = new MouseEvent(event, { bubbles: true, cancelable: true, button })
      wrapper.get('a').element.dispatchEvent(pressed)
      await flushPromises()
      expect(pressed.defaultPrevented).toBe(true)
      expect(document.querySelector('dialog')?.textContent).toContain(address)
      await press('Stay here')
      expect(document.querySelector('dialog')).toBeNull()
    }
    expect(go).not.toHaveBeenCalled()
    await wrapper.get('a').trigger('click')
    await press('Open it')
    expect(go).toHaveBeenCalledExactlyOnceWith(address, '_blank', 'noopener,noreferrer')
  })
})
