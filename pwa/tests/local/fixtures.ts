/** Databases for tests: each with its own name, a clock that the test moves, and seeded randomness. */
import { IDBFactory } from 'fake-indexeddb'
import { onTestFinished } from 'vitest'
import { AccountDatabase } from '../../src/local/database'
import { allEntities, type Entity } from '../../src/local/entities'
import { readSync } from '../../src/local/log'
import { adoptDevice } from '../../src/local/outbox'

export const DEVICE = '0101010101010101'
export const OTHER_DEVICE = '0202020202020202'
export const NODE = 'ab'.repeat(16)

let databases = 0

export class TestEnvironment {
  readonly indexedDB = new IDBFactory()
  ms = 1_700_000_000_000
  private drawn = 0

  now = () => this.ms

  randomBytes = (size: number) => {
    this.drawn += 1
    const bytes = new Uint8Array(size)
    new DataView(bytes.buffer).setUint32(size - 4, this.drawn)
    return bytes
  }
}

export interface TestDatabaseOptions {
  device?: string
  environment?: TestEnvironment
  accountId?: string
}

/** Opens a database that has logged in as `device`. It is closed when the test is over. */
export async function openTestDatabase(options: TestDatabaseOptions = {}): Promise<AccountDatabase> {
  databases += 1
  const { device = DEVICE, environment = new TestEnvironment(), accountId = `test-${String(databases)}` } = options
  const db = new AccountDatabase(accountId, environment)
  onTestFinished(() => {
    db.close()
  })
  await adoptDevice(db, device)
  return db
}

/** Tells the database which history of the server it follows. */
export async function knowEpoch(db: AccountDatabase, epoch: number): Promise<void> {
  await db.putMeta('sync', { ...(await readSync(db)), epoch })
}

/** Returns what is stored of one entity. */
export async function storedEntity(db: AccountDatabase, etype: number, eid: string): Promise<Entity | null> {
  return (await allEntities(db)).find((entity) => entity.etype === etype && entity.eid === eid) ?? null
}
