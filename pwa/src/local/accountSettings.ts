/** What an account has settled for all of its devices: cells like any other, so the last writer wins (rules A). */
import { fromHex } from '../protocol/bytes'
import { EntityType, limits, SettingField, type AsleepPolicy } from '../protocol/generated'
import { encodeValue, readAsleepPolicy, readMainNode } from '../protocol/values'
import type { AccountDatabase } from './database'
import { loadEntities } from './entities'
import { write } from './log'

export interface AccountSettings {
  /** The node that answers are wanted from, by its id; '' for whichever is there. */
  mainNode: string
  /** What is done with a question while that one does not answer. */
  asleepPolicy: AsleepPolicy
}

export const UNSETTLED: AccountSettings = { mainNode: '', asleepPolicy: 'ask' }

const SETTINGS = '00'.repeat(limits.ENTITY_ID_BYTES)
const PLACE = { etype: EntityType.SETTING, eid: SETTINGS, scope: SETTINGS }

export async function readAccountSettings(db: AccountDatabase): Promise<AccountSettings> {
  const [entity] = await db.threadReading(() => loadEntities(db, [PLACE]))
  const read = <Value>(field: number, reader: (data: Uint8Array) => Value | null): Value | null => {
    const cell = entity?.fields[field]
    return cell === undefined ? null : reader(cell[6])
  }
  return {
    mainNode: read(SettingField.MAIN_NODE, readMainNode) ?? UNSETTLED.mainNode,
    asleepPolicy: read(SettingField.ASLEEP_POLICY, readAsleepPolicy) ?? UNSETTLED.asleepPolicy,
  }
}

export async function chooseMainNode(db: AccountDatabase, node: string): Promise<void> {
  const value = encodeValue(node === '' ? null : fromHex(node))
  await write(db, [{ ...PLACE, field: SettingField.MAIN_NODE, value }])
}

export async function chooseAsleepPolicy(db: AccountDatabase, policy: AsleepPolicy): Promise<void> {
  await write(db, [{ ...PLACE, field: SettingField.ASLEEP_POLICY, value: encodeValue(policy) }])
}
