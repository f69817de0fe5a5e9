/** Segments beside rows (L23): whatever comes in whatever order, nobody can tell how it is kept. */
import 'fake-indexeddb/auto'
import Dexie from 'dexie'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { removeMessage } from '../../src/local/actions'
import { applyBootstrap } from '../../src/local/bootstrap'
import { AccountDatabase } from '../../src/local/database'
import { allEntities, entityPages, loadEntities, scopeOf } from '../../src/local/entities'
import { applyAside, dropScopes, readOwnLog, readSync, write } from '../../src/local/log'
import { adoptDevice } from '../../src/local/outbox'
import { readPending, readThread } from '../../src/local/reads'
import { tidySegments } from '../../src/local/tidying'
import { fromHex, toHex } from '../../src/protocol/bytes'
import { pack } from '../../src/protocol/clock'
import { Digester } from '../../src/protocol/digest'
import { ConversationField, EntityType, MessageField, type PulledChange } from '../../src/protocol/generated'
import { encodeText, encodeValue } from '../../src/protocol/values'
import { packSegment } from '../sync/packSegment'
import { DEVICE, NODE, OTHER_DEVICE, TestEnvironment } from './fixtures'

const SCOPES = ['c1', 'c2'].map((byte) => byte.repeat(16))
const FOREIGN = fromHex(OTHER_DEVICE)

interface Cell {
  scope: number
  entity: number
  field: number
  ms: number
}

const REQUEST = encodeValue({ node: fromHex(NODE), model: null, sampling: {} })

/** The same cell whenever it is drawn, as one change of one device. */
function changeOf({ scope, entity, field, ms }: Cell): PulledChange {
  const role = field === MessageField.HEADER && entity % 2 === 1 ? 'assistant' : 'user'
  const values: Record<number, Uint8Array> = {
    [MessageField.HEADER]: encodeValue({ role, parent: entity === 0 ? null : fromHex(idOf(scope, entity - 1)) }),
    [MessageField.REQUEST]: REQUEST,
    [MessageField.STATE]: encodeValue({ state: ms % 2 === 0 ? 'running' : 'done' }),
  }
  const value = values[field] ?? encodeText(`${String(ms)} of ${String(entity)}`)
  const place = fromHex(SCOPES[scope] ?? '')
  return [pack(ms, 0, FOREIGN), EntityType.MESSAGE, fromHex(idOf(scope, entity)), field, place, 0, value, ms + 1]
}

function idOf(scope: number, entity: number): string {
  return `${String(scope)}${String(entity)}`.padStart(32, '0')
}

function purgeOf(scope: number): PulledChange {
  const place = fromHex(SCOPES[scope] ?? '')
  const end = encodeValue(true)
  return [pack(50, 0, FOREIGN), EntityType.CONVERSATION, place, ConversationField.PURGED, place, 0, end, 99]
}

const anyCell = fc.record({
  scope: fc.nat({ max: 1 }),
  entity: fc.nat({ max: 7 }),
  field: fc.constantFrom(MessageField.HEADER, MessageField.BODY, MessageField.REQUEST, MessageField.STATE),
  ms: fc.integer({ min: 1, max: 4 }),
})
const cells = fc.array(anyCell, { minLength: 12, maxLength: 48, size: 'max' })

const anyStep = fc.oneof(
  { weight: 4, arbitrary: cells.map((drawn) => ({ kind: 'page' as const, drawn })) },
  { weight: 2, arbitrary: cells.map((drawn) => ({ kind: 'aside' as const, drawn: drawn.slice(0, 5) })) },
  { weight: 2, arbitrary: anyCell.map((cell) => ({ kind: 'write' as const, cell })) },
  { weight: 1, arbitrary: fc.nat({ max: 1 }).map((scope) => ({ kind: 'purge' as const, scope })) },
  { weight: 1, arbitrary: fc.nat({ max: 1 }).map((scope) => ({ kind: 'drop' as const, scope })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'reload' as const }) },
  { weight: 1, arbitrary: cells.map((drawn) => ({ kind: 'cut' as const, drawn })) },
  { weight: 2, arbitrary: fc.constant({ kind: 'tidy' as const }) },
  { weight: 2, arbitrary: fc.nat({ max: 60 }).map((turns) => ({ kind: 'cutTidying' as const, turns })) },
)
type Step = typeof anyStep extends fc.Arbitrary<infer Kind> ? Kind : never

/** A browser with two tabs; the second one only reads. */
class Profile {
  private readonly environment = new TestEnvironment()
  private tabs: [AccountDatabase, AccountDatabase]
  private pages = 0

  constructor(private readonly isPacked: boolean) {
    this.tabs = this.open()
  }

  get db(): AccountDatabase {
    return this.tabs[0]
  }

  private open(): [AccountDatabase, AccountDatabase] {
    return [new AccountDatabase('packed', this.environment), new AccountDatabase('packed', this.environment)]
  }

  close(): void {
    for (const tab of this.tabs) tab.close()
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'page':
        await this.page(step.drawn)
        break
      case 'cut':
        await this.cutPage(step.drawn)
        break
      case 'aside':
        await applyAside(this.db, step.drawn.map(changeOf))
        break
      case 'write': {
        const { scope, entity } = step.cell
        const place = { etype: EntityType.MESSAGE, eid: idOf(scope, entity), scope: SCOPES[scope] ?? '' }
        await write(this.db, [{ ...place, field: MessageField.BODY, value: encodeText('written here') }])
        break
      }
      case 'purge':
        await applyAside(this.db, [purgeOf(step.scope)])
        break
      case 'drop':
        await dropScopes(this.db, [SCOPES[step.scope] ?? ''])
        break
      case 'tidy':
        await tidySegments(this.db)
        break
      case 'cutTidying':
        await this.cutTidying(step.turns)
        break
      case 'reload':
        this.close()
        this.tabs = this.open()
    }
  }

  /** Gives a page as the server does: cells in the order of keys, those of a scope together, two segments for each. */
  private async page(drawn: readonly Cell[]): Promise<void> {
    const unique = new Map(drawn.map((cell) => [[cell.scope, cell.entity, cell.field].join(), cell]))
    const ordered = [...unique.values()].sort(
      (left, right) => right.scope - left.scope || right.entity - left.entity || right.field - left.field,
    )
    const inScopes = SCOPES.map((_, scope) => ordered.filter((cell) => cell.scope === scope).map(changeOf))
    // In the middle of an entity, too, as where a page ends.
    const halves = inScopes.flatMap((own) => [own.slice(0, own.length / 2), own.slice(own.length / 2)])
    const segments = halves.filter((half) => half.length > 0)
    const from = this.pages === 0 ? null : String(this.pages)
    const place = { epoch: 1, from, after: String(this.pages + 1), head: 9 }
    const isStored = await applyBootstrap(
      this.db,
      this.isPacked
        ? { ...place, changes: [], segments: segments.map(packSegment) }
        : { ...place, changes: segments.flat(), segments: [] },
    )
    expect(isStored).toBe(true)
    this.pages += 1
  }

  /** The tab ends in the middle of a page: nothing of it is there, and it comes again later. */
  private async cutPage(drawn: readonly Cell[]): Promise<void> {
    const storing = this.page(drawn)
    this.pages -= 1
    this.close()
    await expect(storing).rejects.toThrow()
    this.pages = Math.max(0, this.pages + 1)
    this.tabs = this.open()
    const { bootstrap } = await readSync(this.db)
    this.pages = Number(bootstrap ?? 0)
  }

  /** The tab ends at any moment while it tidies. */
  private async cutTidying(turns: number): Promise<void> {
    const tidying = tidySegments(this.db).catch((error: unknown) => {
      expect(error).toBeInstanceOf(Dexie.DexieError)
    })
    for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate)
    this.close()
    await tidying
    this.tabs = this.open()
  }

  /** All that anybody can see of what is stored, in both tabs. */
  async state(): Promise<unknown> {
    const entities = await allEntities(this.db)
    const rows = entities
      .filter(({ fields }) => Object.keys(fields).length > 0)
      .map(({ etype, eid, scope, fields }) => [etype, eid, scope, Object.values(fields).map(described)])
    const digester = new Digester()
    for await (const page of entityPages(this.db)) digester.add(page.flatMap(({ fields }) => Object.values(fields)))
    const threads = await Promise.all(
      this.tabs.flatMap((tab) => SCOPES.map(async (scope) => threadOf(await readThread(tab, scope)))),
    )
    const summaries = (await this.db.summary.toArray()).map((summary) => ({ ...summary, revision: 0 }))
    const { clock, sharedClock } = await readOwnLog(this.db)
    const pending = (await readPending(this.db)).pending
    return {
      rows: rows.sort((left, right) => (String(left) < String(right) ? -1 : 1)),
      digest: [digester.count, toHex(digester.digest)],
      threads,
      summaries,
      pending,
      clocks: [toHex(clock), toHex(sharedClock)],
    }
  }
}

function described(cell: readonly unknown[]): string {
  return cell.map((part) => (part instanceof Uint8Array ? toHex(part) : String(part))).join(' ')
}

function threadOf({ conversation, messages }: Awaited<ReturnType<typeof readThread>>) {
  const all = [...messages.values()].map((message) => ({ ...message, created: toHex(message.created) }))
  return { conversation, messages: all.sort((left, right) => (left.id < right.id ? -1 : 1)) }
}

describe('L23', () => {
  it('segments, rows, purges and cuts in any order give what rows alone give', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 3, maxLength: 9, size: 'max' }), async (steps) => {
        const profiles = [new Profile(true), new Profile(false)]
        const states: unknown[] = []
        for (const profile of profiles) {
          await adoptDevice(profile.db, DEVICE)
          const seen: unknown[] = []
          for (const step of steps) {
            await profile.take(step)
            seen.push(await profile.state())
          }
          states.push(seen)
        }
        for (const profile of profiles) profile.close()
        expect(states[0]).toEqual(states[1])
      }),
      { numRuns: 25 },
    )
  }, 60_000)

  it('a segment is given up when half of it has rows, and not before', async () => {
    const db = new AccountDatabase('tidied', new TestEnvironment())
    await adoptDevice(db, DEVICE)
    const entities = Array.from({ length: 8 }, (_, entity) => entity)
    const cells = entities.map((entity) => changeOf({ scope: 0, entity, field: MessageField.HEADER, ms: 1 }))
    await applyBootstrap(db, {
      epoch: 1,
      from: null,
      after: 'next',
      head: 9,
      changes: [],
      segments: [packSegment(cells)],
    })
    const rewrite = async (entity: number) =>
      applyAside(db, [changeOf({ scope: 0, entity, field: MessageField.BODY, ms: 2 })])
    for (const entity of [0, 1, 2]) await rewrite(entity)
    expect([await tidySegments(db), await db.entity.count(), await db.segment.count()]).toEqual([0, 3, 1])
    await rewrite(3)
    const before = threadOf(await readThread(db, SCOPES[0] ?? ''))
    expect([await tidySegments(db), await db.entity.count(), await db.segment.count()]).toEqual([1, 8, 0])
    db.close()
    const again = new AccountDatabase('tidied', db.environment)
    expect(threadOf(await readThread(again, SCOPES[0] ?? ''))).toEqual(before)
    again.close()
  })

  it('a long conversation is kept in segments, and what is written to one of its messages in a row', async () => {
    const db = new AccountDatabase('long', new TestEnvironment())
    await adoptDevice(db, DEVICE)
    const own = Array.from({ length: 8 }, (_, entity) => entity).flatMap((entity) =>
      [MessageField.HEADER, MessageField.BODY].map((field) => changeOf({ scope: 0, entity, field, ms: 1 })),
    )
    const [page, eid] = [{ epoch: 1, from: null, after: 'next', head: 9, changes: [] }, idOf(0, 7)]
    const outer = new Uint8Array([...new Uint8Array(5000), ...packSegment(own)])
    await applyBootstrap(db, { ...page, segments: [outer.subarray(5000)] })
    expect([await db.entity.count(), await db.segment.count()]).toEqual([0, 1])
    expect((await db.segment.toArray())[0]?.packed.buffer.byteLength).toBe(outer.length - 5000)
    expect(await scopeOf(db, EntityType.MESSAGE, eid)).toBe(SCOPES[0])
    expect(await scopeOf(db, EntityType.MESSAGE, idOf(0, 9))).toBeNull()
    await removeMessage(db, eid)
    expect([await db.entity.count(), await db.segment.count()]).toEqual([1, 1])
    const place = { etype: EntityType.MESSAGE, eid, scope: SCOPES[0] ?? '' }
    const [stored] = await loadEntities(db, [place])
    expect(Object.keys(stored?.fields ?? {})).toHaveLength(3)
    expect((await readThread(db, SCOPES[0] ?? '')).messages.get(eid)).toMatchObject({ deleted: true, body: '1 of 7' })
    db.close()
  })
})
