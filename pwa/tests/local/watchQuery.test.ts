/** A live query and a tab that another has told nothing: it was frozen. */
import 'fake-indexeddb/auto'
import { expect, it, onTestFinished, vi } from 'vitest'
import { FROZEN_AFTER_MS } from '../../src/local/thaw'
import { watchQuery } from '../../src/local/watchQuery'
import { openTestDatabase } from './fixtures'

it('shows what was written while the tab was frozen', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  const db = await openTestDatabase()
  const shown: (string | undefined)[] = []
  const stop = watchQuery(
    async () => (await db.draft.get(''))?.text,
    (text) => {
      shown.push(text)
    },
  )
  await vi.waitFor(() => {
    expect(shown).toEqual([undefined])
  })

  // Past Dexie, as what comes from another tab whose word is lost.
  const transaction = db.backendDB().transaction('draft', 'readwrite')
  transaction.objectStore('draft').put({ conversation: '', text: 'Rye?' })
  await new Promise((resolve) => {
    transaction.oncomplete = resolve
  })
  vi.advanceTimersByTime(2 * FROZEN_AFTER_MS)
  expect(shown).toEqual([undefined])

  vi.setSystemTime(Date.now() + 2 * FROZEN_AFTER_MS)
  vi.advanceTimersToNextTimer()
  await vi.waitFor(() => {
    expect(shown).toEqual([undefined, 'Rye?'])
  })

  stop()
  expect(vi.getTimerCount()).toBe(0)
})
