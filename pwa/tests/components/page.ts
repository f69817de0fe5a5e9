/** Puts the app, or a part of it, on a page at an address. */
import { enableAutoUnmount, flushPromises, mount, type VueWrapper } from '@vue/test-utils'
import { createMemoryHistory, createRouter, type Router } from 'vue-router'
import { afterEach } from 'vitest'
import type { Component } from 'vue'
import { createWords, speak } from '@/i18n'
import { routes } from '@/router'

enableAutoUnmount(afterEach)

export interface Page {
  wrapper: VueWrapper
  router: Router
  /** The control with this accessible name; throws Error where there is none. */
  control: (name: string) => HTMLElement
  has: (name: string) => boolean
  field: (label: string) => HTMLInputElement
  press: (name: string) => Promise<void>
  /** Opens a menu, which jsdom can't by itself, and chooses from it. */
  choose: (menu: string, item: string) => Promise<void>
}

export async function open(component: Component, path: string, props: Record<string, unknown> = {}): Promise<Page> {
  const words = createWords()
  await speak(words, 'en')
  const router = createRouter({ history: createMemoryHistory(), routes })
  await router.push(path)
  const wrapper = mount(component, {
    attachTo: document.body,
    props,
    global: { plugins: [words, router] },
  }) as VueWrapper
  await flushPromises()

  const nameOf = (element: Element) => element.getAttribute('aria-label') ?? element.textContent.trim()
  const controls = () => [...document.body.querySelectorAll<HTMLElement>('button, a, [role=menuitem]')]
  const find = (name: string) => controls().find((element) => nameOf(element) === name)
  const control = (name: string) => {
    const found = find(name)
    if (found === undefined) throw new Error(`no control named ${name} among: ${controls().map(nameOf).join(', ')}`)
    return found
  }
  const field = (label: string) => {
    const named = [...document.body.querySelectorAll('label')].find((element) => element.textContent.trim() === label)
    const input = named && document.body.querySelector<HTMLInputElement>(`#${CSS.escape(named.htmlFor)}`)
    if (!input) throw new Error(`no field labelled ${label}`)
    return input
  }
  const press = async (name: string) => {
    control(name).click()
    await flushPromises()
  }
  const choose = async (menu: string, item: string) => {
    const popover = document.getElementById(control(menu).getAttribute('popovertarget') ?? '')
    for (const name of ['beforetoggle', 'toggle']) {
      popover?.dispatchEvent(Object.assign(new Event(name), { newState: 'open' }))
      await flushPromises()
    }
    await press(item)
    popover?.dispatchEvent(Object.assign(new Event('beforetoggle'), { newState: 'closed' }))
    await flushPromises()
  }
  return { wrapper, router, control, field, press, choose, has: (name) => find(name) !== undefined }
}
