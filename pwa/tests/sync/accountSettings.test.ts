/** What an account settles on one device holds on all of them (rules A). */
import 'fake-indexeddb/auto'
import { describe, expect, it } from 'vitest'
import { useSeveralNodes } from '../../src/composables'
import {
  chooseAsleepPolicy,
  chooseMainNode,
  readAccountSettings,
  UNSETTLED,
  type AccountSettings,
} from '../../src/local/accountSettings'
import type { AccountDatabase } from '../../src/local/database'
import { write } from '../../src/local/log'
import { readDeleted, readSummaries } from '../../src/local/reads'
import { EntityType, SettingField, type Node } from '../../src/protocol/generated'
import { encodeValue } from '../../src/protocol/values'
import type { Engine } from '../../src/sync/engine'
import { mounted } from '../composables/harness'
import { eventually, House, NODE } from './house'

const OTHER = 'cd'.repeat(16)
const ZERO = '00'.repeat(16)
const ASLEEP: Node = { node_id: OTHER, name: 'Big PC', awake: false, since_ms: 0, status: null, level: 'manage' }

async function engineIn(house: House, now: () => number = Date.now): Promise<Engine> {
  const browser = house.browser()
  browser.environment.now = now
  const { engine } = await browser.login()
  if (engine.value === null) throw new Error('no account is open')
  return engine.value
}

const loggedIn = async (house: House) => (await engineIn(house)).db

async function holds(db: AccountDatabase, settings: AccountSettings): Promise<void> {
  await eventually(async () => {
    expect(await readAccountSettings(db)).toEqual(settings)
  })
}

describe('what an account has settled', () => {
  it('A1: reaches its other devices, and one that logs in later', async () => {
    const house = new House()
    const [phone, laptop] = [await loggedIn(house), await loggedIn(house)]
    expect(await readAccountSettings(phone)).toEqual(UNSETTLED)
    await chooseMainNode(phone, NODE)
    await holds(laptop, { mainNode: NODE, asleepPolicy: 'ask' })
    await chooseAsleepPolicy(laptop, 'wait')
    const both: AccountSettings = { mainNode: NODE, asleepPolicy: 'wait' }
    await holds(phone, both)
    await holds(await loggedIn(house), both)
    // Whichever is there is a choice, too.
    await chooseMainNode(laptop, '')
    await holds(phone, { mainNode: '', asleepPolicy: 'wait' })
  })

  it('A1: is what the last writer wrote, though both were apart', async () => {
    const house = new House()
    // By one clock, which goes on between them.
    let ms = house.server.ms
    const inTime = () => ms
    const engines = [await engineIn(house, inTime), await engineIn(house, inTime)] as const
    const [{ db: phone }, { db: laptop }] = engines
    house.server.stop()
    await chooseMainNode(phone, NODE)
    await chooseAsleepPolicy(phone, 'another')
    ms += 1_000
    await chooseMainNode(laptop, OTHER)
    house.server.isUp = true
    for (const engine of engines) engine.tryNow()
    const last: AccountSettings = { mainNode: OTHER, asleepPolicy: 'another' }
    await holds(phone, last)
    await holds(laptop, last)
  })

  it('V3: is as if nobody had written where it can not be read', async () => {
    const db = await loggedIn(new House())
    const place = { etype: EntityType.SETTING, eid: ZERO, scope: ZERO }
    await write(db, [
      { ...place, field: SettingField.MAIN_NODE, value: encodeValue('a name') },
      { ...place, field: SettingField.ASLEEP_POLICY, value: encodeValue('perhaps') },
      { ...place, field: 99, value: encodeValue('of a later version') },
    ])
    expect(await readAccountSettings(db)).toEqual(UNSETTLED)
    // Nor is it a conversation.
    expect(await readSummaries(db)).toEqual([])
    expect(await readDeleted(db)).toEqual([])
  })

  it('D9: decides whom the next question of another device goes to', async () => {
    const house = new House()
    house.server.nodes = [house.describeNode(true), ASLEEP]
    const phone = await loggedIn(house)
    const laptop = await house.browser().login()
    const { result } = mounted(laptop, useSeveralNodes)
    const goesTo = async (node: string, instead: string | null) => {
      await eventually(async () => {
        const choice = await result.choose()
        expect([choice.node?.id, choice.instead?.id ?? null]).toEqual([node, instead])
      })
    }
    await goesTo(NODE, null)
    await chooseMainNode(phone, OTHER)
    await goesTo(OTHER, NODE)
    await chooseAsleepPolicy(phone, 'wait')
    await goesTo(OTHER, null)
    await chooseAsleepPolicy(phone, 'another')
    await goesTo(NODE, null)
  })
})
