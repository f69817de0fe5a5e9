/** Data that an older version of the app has left, and windows of other versions that are open at the same time. */
import 'fake-indexeddb/auto'
import Dexie from 'dexie'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { rename, send } from '../../src/local/actions'
import { AccountDatabase, SupersededError, type DatabaseTrouble } from '../../src/local/database'
import { allWaiting, type WaitingChange } from '../../src/local/outboxRows'
import { readSummaries, readThread, readUnacknowledged } from '../../src/local/reads'
import { toHex } from '../../src/protocol/bytes'
import { EntityType, MessageField } from '../../src/protocol/generated'
import { openAccount } from '../../src/sync/session'
import { NODE, openTestDatabase, TestEnvironment } from './fixtures'

/** The tables as they were, by version of the database. */
const OLD_TABLES: Readonly<Record<number, Record<string, string>>> = {
  1: {
    entity: '[etype+eid], [etype+scope]',
    outbox: 'dseq, scope, request',
    summary: 'id',
    pending: 'id, conversation',
    arrival: 'id, conversation',
    draft: 'conversation',
    meta: 'key',
  },
  2: {
    entity: '[etype+eid], [scope+revision]',
    outbox: 'dseq, scope, request',
    summary: 'id',
    pending: 'id, conversation',
    arrival: 'id, conversation',
    draft: 'conversation',
    meta: 'key',
  },
  3: {
    entity: '[etype+eid], [scope+revision]',
    outbox: 'dseq, scope, request',
    summary: 'id',
    pending: 'id, conversation',
    arrival: 'id, conversation',
    draft: 'conversation',
    meta: 'key',
    seen: 'conversation',
    outline: 'scope',
  },
  4: {
    entity: '[etype+eid], [scope+revision]',
    outbox: 'dseq, *scopes, *requests',
    summary: 'id',
    pending: 'id, conversation',
    arrival: 'id, conversation',
    draft: 'conversation',
    meta: 'key',
    seen: 'conversation',
    outline: 'scope',
  },
}

/** A row of the outbox as it was until version 3: one for each change. */
function oldOutboxRow({ dseq, change }: WaitingChange) {
  const [, etype, eid, field, scope] = change
  const isRequest = etype === EntityType.MESSAGE && field === MessageField.REQUEST
  return { dseq, scope: toHex(scope), change, ...(isRequest ? { request: toHex(eid) } : {}) }
}

/** An account's database as that version of the app left it, with one conversation; open until closed. */
async function oldDatabase(
  version: number,
  { environment, accountId }: { environment: TestEnvironment; accountId: string },
) {
  const now = await openTestDatabase({ environment: new TestEnvironment(), accountId })
  const { conversation } = await send(now, { conversation: null, text: 'Rye?', node: NODE, model: null })
  const old = new Dexie(`domovoi-${accountId}`, { indexedDB: environment.indexedDB })
  old.version(version).stores(OLD_TABLES[version] ?? {})
  // Like a window that hangs: it hears of the newer version and does not let go.
  old.on('versionchange', () => false)
  for (const name of Object.keys(OLD_TABLES[version] ?? {})) {
    const rows = (await now.table<Record<string, unknown>>(name).toArray()).filter(
      ({ key }) => key !== 'summaryVersion',
    )
    if (version === 1) for (const row of rows) delete row['revision']
    const isOldOutbox = name === 'outbox' && version < 4
    await old.table(name).bulkPut(isOldOutbox ? (await allWaiting(now)).map(oldOutboxRow) : rows)
  }
  onTestFinished(() => {
    old.close()
  })
  return { old, conversation, unsent: (await allWaiting(now)).map(oldOutboxRow) }
}

async function opened(accountId: string, environment: TestEnvironment) {
  const db = await openAccount(accountId, environment)
  onTestFinished(() => {
    db.close()
  })
  return db
}

describe('an older database', () => {
  it.each([1, 2, 3, 4])('version %i opens with all that was in it, and goes on', async (version) => {
    const environment = new TestEnvironment()
    const { old, conversation, unsent } = await oldDatabase(version, { environment, accountId: 'vera' })
    old.close()

    const db = await opened('vera', environment)
    const thread = await readThread(db, conversation)
    expect([...thread.messages.values()].map(({ body }) => body)).toContain('Rye?')
    expect((await readSummaries(db)).map(({ title }) => title)).toEqual(['Rye?'])
    expect((await allWaiting(db)).map(oldOutboxRow)).toEqual(unsent)
    expect(await db.outbox.count()).toBe(1)
    expect(await readUnacknowledged(db)).toEqual({
      requests: new Set([...thread.messages.values()].filter(({ request }) => request !== null).map(({ id }) => id)),
      changes: unsent.length,
    })
    expect(thread.unacknowledged.size).toBe(3)
    await rename(db, conversation, 'Bread')
    expect((await readThread(db, conversation)).conversation.title).toBe('Bread')
  })

  it('waits for a window that holds it, says so, and opens when that is closed', async () => {
    const environment = Object.assign(new TestEnvironment(), {
      onTrouble: vi.fn<(is: DatabaseTrouble | null) => void>(),
    })
    const { old } = await oldDatabase(2, { environment, accountId: 'vera' })
    const opening = opened('vera', environment)
    await vi.waitFor(() => {
      expect(environment.onTrouble).toHaveBeenCalledWith('blocked')
    })
    expect(await old.table('outbox').count()).toBeGreaterThan(0)

    old.close()
    expect(await (await opening).outbox.count()).toBeGreaterThan(0)
    expect(environment.onTrouble).toHaveBeenLastCalledWith(null)
  })
})

describe('a newer database', () => {
  it('is given way to: the older window lets go and says so', async () => {
    const environment = Object.assign(new TestEnvironment(), {
      onTrouble: vi.fn<(is: DatabaseTrouble | null) => void>(),
    })
    const db = await opened('vera', environment)
    const newer = new Dexie('domovoi-vera', { indexedDB: environment.indexedDB })
    newer.version(100).stores({ meta: 'key' })
    await newer.open()
    newer.close()
    expect(environment.onTrouble).toHaveBeenLastCalledWith('superseded')
    expect(db.isOpen()).toBe(false)
  })

  it('is not touched by an older app, which says so', async () => {
    const environment = Object.assign(new TestEnvironment(), {
      onTrouble: vi.fn<(is: DatabaseTrouble | null) => void>(),
    })
    const newer = new Dexie('domovoi-vera', { indexedDB: environment.indexedDB })
    newer.version(100).stores({ meta: 'key' })
    await newer.open()
    newer.close()
    await expect(openAccount('vera', environment)).rejects.toThrow(SupersededError)
    expect(environment.onTrouble).toHaveBeenLastCalledWith('superseded')
  })

  it('wiping is no newer version', async () => {
    const environment = Object.assign(new TestEnvironment(), {
      onTrouble: vi.fn<(is: DatabaseTrouble | null) => void>(),
    })
    await opened('vera', environment)
    await new AccountDatabase('vera', environment).delete()
    expect(environment.onTrouble).not.toHaveBeenCalledWith('superseded')
  })
})
