/**
 * Vectors that this twin makes and the Python one is held to (tests/shared/test_vectors.py): neither language may be
 * right only about its own. `vitest -u` writes them anew.
 */
import { describe, expect, it } from 'vitest'
import { toHex } from '../../src/protocol/bytes'
import { FIRST_HASH, foldHashes } from '../../src/protocol/canonical'
import type { StoredChange } from '../../src/protocol/change'
import { pack } from '../../src/protocol/clock'
import { Digester } from '../../src/protocol/digest'
import { ConversationField, EntityType, type Change, type SealedCall } from '../../src/protocol/generated'
import { cellKey } from '../../src/protocol/change'
import { merge } from '../../src/protocol/merge'
import { sealCall } from '../../src/protocol/sealing'
import { encodeValue } from '../../src/protocol/values'
import { suite } from '../sync/sealedDoor'

const TEXTS = ['', 'Hello', 'Привет, дом', '日本語', '🔥 тёплый очаг', 'é ‮flip', 'line\nline\r\n\ttab', '\0']
const VECTORS = 6
const CHANGES = 16

/** Mulberry32: the same numbers everywhere. */
function randomness(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

function randomChange(next: (below: number) => number): Change {
  const conversation = next(3)
  const scope = new Uint8Array(16).fill(conversation)
  const isPurge = next(10) === 0
  const isMessage = !isPurge && next(2) === 0
  const message = Uint8Array.from(scope)
  message[15] = 0x80 + next(2)
  return [
    pack(next(6), next(2), new Uint8Array(8).fill([1, 2, 255][next(3)] ?? 0)),
    isMessage ? EntityType.MESSAGE : EntityType.CONVERSATION,
    isMessage ? message : scope,
    isPurge ? ConversationField.PURGED : 1 + next(3),
    scope,
    0,
    new TextEncoder().encode(TEXTS[next(TEXTS.length)]),
  ]
}

function json([clk, etype, eid, field, scope, kid, value]: StoredChange): object {
  return { clk: toHex(clk), etype, eid: toHex(eid), field, scope: toHex(scope), kid, value: toHex(value) }
}

function merged(changes: readonly Change[]): StoredChange[] {
  const cells = new Map<string, StoredChange>()
  merge(cells, changes)
  const order = ([, etype, eid, field]: StoredChange) => `${String(etype)}${toHex(eid)}${String(field)}`
  return [...cells.values()].sort((left, right) => (order(left) < order(right) ? -1 : 1))
}

function document(comment: string, vectors: [input: unknown, result: unknown][]): string {
  const lines = vectors.map(([input, result], index) =>
    JSON.stringify({ id: `app-${String(index)}`, comment: 'made by the app', input, result }),
  )
  return `{"comment": ${JSON.stringify(comment)}, "vectors": [\n${lines.join(',\n')}\n]}\n`
}

const runs = Array.from({ length: VECTORS }, (_, seed) => {
  const next = randomness(seed + 1)
  return Array.from({ length: CHANGES }, () => randomChange(next))
})

describe('vectors of the app', () => {
  it('merge', async () => {
    const vectors = runs.map((changes): [unknown, unknown] => [changes.map(json), merged(changes).map(json)])
    await expect(document('L6, L18: any order gives the same cells', vectors)).toMatchFileSnapshot(
      '../../../shared/vectors/from_app/merge.json',
    )
  })

  it('canonical', async () => {
    const vectors = runs.map((changes, index): [unknown, unknown] => {
      const first = 2 ** (8 * index)
      const input = { previous: toHex(FIRST_HASH), first_dseq: first, changes: changes.map(json) }
      return [input, foldHashes(FIRST_HASH, first, changes).map(toHex)]
    })
    await expect(document('L4, L5: the chain', vectors)).toMatchFileSnapshot(
      '../../../shared/vectors/from_app/canonical.json',
    )
  })

  it('digest', async () => {
    const vectors = runs.map((changes): [unknown, unknown] => {
      const folded = new Digester().add(merged(changes))
      return [merged(changes).map(json), { count: folded.count, digest: toHex(folded.digest) }]
    })
    await expect(document('L20: the digest', vectors)).toMatchFileSnapshot(
      '../../../shared/vectors/from_app/digest.json',
    )
  })

  it('sealed calls', async () => {
    const texts = ['', 'Привет, дом', '🔥'.repeat(40)]
    const vectors = await Promise.all(
      texts.map(async (text, index): Promise<[unknown, unknown]> => {
        const bytes = (value: number) => new Uint8Array(32).fill(16 * index + value)
        const { privateKey, publicKey } = await suite.kem.deriveKeyPair(bytes(1).buffer)
        const nodeId = 'ab'.repeat(16)
        const call: Required<SealedCall> = {
          ...{
            method: 'POST',
            path: '/v1/answers',
            reply_secret: bytes(2),
            node_epoch: 2 ** 47 + index,
            token: 'a.b.c',
          },
          ...{ body: encodeValue(text), media_type: 'application/msgpack', last_event: '' },
        }
        const raw = new Uint8Array(await suite.kem.serializePublicKey(publicKey))
        const { request } = await sealCall(raw, nodeId, call, bytes(3))
        const input = {
          private_key: toHex(new Uint8Array(await suite.kem.serializePrivateKey(privateKey))),
          ...{ node_id: nodeId, request: toHex(request) },
        }
        return [input, { ...call, reply_secret: toHex(call.reply_secret), body: toHex(call.body) }]
      }),
    )
    await expect(document('H1, H2: what is in a sealed call', vectors)).toMatchFileSnapshot(
      '../../../shared/vectors/from_app/sealed_calls.json',
    )
  })

  it('L6 any order, duplication and batching gives the same cells', () => {
    for (const changes of runs) {
      const expected = new Map(merged(changes).map((change) => [cellKey(change), change]))
      const again = new Map(
        merged([...changes.slice(5), ...changes.toReversed(), ...changes]).map((c) => [cellKey(c), c]),
      )
      expect(again).toEqual(expected)
    }
  })
})
