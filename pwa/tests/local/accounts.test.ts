import { expect, it } from 'vitest'
import { AccountRegistry } from '../../src/local/accounts'
import { MemoryStorage } from './memoryStorage'

const ANNA = { accountId: 'aa', username: 'anna' }
const BORIS = { accountId: 'bb', username: 'boris' }

it('knows who has data here and who is in use', () => {
  const storage = new MemoryStorage()
  const registry = new AccountRegistry(storage)
  expect(registry.current()).toBeNull()
  registry.use(ANNA, 1)
  registry.use(BORIS, 2)
  expect(new AccountRegistry(storage).current()).toEqual(BORIS)
  registry.leave()
  expect(registry.current()).toBeNull()
  expect(registry.byUsername('anna')).toEqual(ANNA)
  registry.forget('aa')
  expect(registry.byUsername('anna')).toBeNull()
})

it('forgets the account in use as well', () => {
  const registry = new AccountRegistry(new MemoryStorage())
  registry.use(ANNA, 1)
  registry.forget('aa')
  expect(registry.current()).toBeNull()
})

it('a new login of the same account is news for other tabs', () => {
  const storage = new MemoryStorage()
  const registry = new AccountRegistry(storage)
  registry.use(ANNA, 1)
  const before = storage.getItem('domovoi.account')
  registry.use(ANNA, 2)
  expect(storage.getItem('domovoi.account')).not.toBe(before)
})
