import 'fake-indexeddb/auto'
import { expect, it } from 'vitest'
import { useActions } from '../../src/composables/useActions'
import { House } from '../sync/house'
import { mounted } from './harness'

it('the browser is asked to keep the data once there is something to keep', async () => {
  const browser = new House().browser()
  const { result: actions } = mounted(await browser.login(), () => useActions())
  expect(browser.keepings).toBe(0)
  await expect(actions.send({ conversation: null, text: ' ' })).rejects.toThrow()
  expect(browser.keepings).toBe(0)
  const conversation = await actions.send({ conversation: null, text: 'Rye?' })
  await actions.send({ conversation, text: 'And wheat?' })
  expect(browser.keepings).toBe(1)
})
