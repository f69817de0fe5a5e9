/** Which nodes a device trusts (H7). */
import 'fake-indexeddb/auto'
import { beforeEach, expect, it } from 'vitest'
import type { AccountDatabase } from '../../src/local/database'
import { checkNode, readStrangeNodes, trustNode } from '../../src/local/nodeTrust'
import { openTestDatabase } from './fixtures'

const [STUDY, STUDY_ANEW, ATTIC] = ['01', '02', '03']
let db: AccountDatabase

beforeEach(async () => {
  db = await openTestDatabase()
})

async function list(...nodes: [id: string, name: string][]): Promise<void> {
  const known = nodes.map(([id, name]) => ({
    ...{ node_id: id, name, awake: true, since_ms: 0, status: null, level: 'use' as const, candidates: [] },
  }))
  await db.putMeta('nodes', known)
}

it('H7 trusts what is there at first, and others under names of their own', async () => {
  await list([STUDY, 'Study PC'])
  await checkNode(db, STUDY)
  // Two PCs of one name are two PCs.
  await list([STUDY, 'Study PC'], [ATTIC, 'Study PC'])
  await checkNode(db, ATTIC)
  expect(await readStrangeNodes(db)).toEqual(new Set())
})

it('H7 calls no node that stands in the place of one that is gone, until a person accepts it', async () => {
  await list([STUDY, 'Study PC'])
  await checkNode(db, STUDY)
  await list([STUDY_ANEW, 'Study PC'], [ATTIC, 'Attic'])
  await checkNode(db, ATTIC)
  await expect(checkNode(db, STUDY_ANEW)).rejects.toMatchObject({ code: 'node_key_changed' })
  await expect(checkNode(db, STUDY_ANEW)).rejects.toMatchObject({ code: 'node_key_changed' })
  expect(await readStrangeNodes(db)).toEqual(new Set([STUDY_ANEW]))
  await trustNode(db, STUDY_ANEW)
  await checkNode(db, STUDY_ANEW)
  expect(await readStrangeNodes(db)).toEqual(new Set())
  // And the old one is a stranger now.
  await list([STUDY, 'Study PC'])
  await expect(checkNode(db, STUDY)).rejects.toMatchObject({ code: 'node_key_changed' })
})

it('H7 knows a PC again that was away', async () => {
  await list([STUDY, 'Study PC'])
  await checkNode(db, STUDY)
  await list()
  await list([STUDY, 'Study PC'])
  await checkNode(db, STUDY)
})
