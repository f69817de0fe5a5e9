/** Runs the language-neutral vectors that shared/ makes and holds. */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '../../src/protocol/bytes'
import { canonicalBytes, foldHashes } from '../../src/protocol/canonical'
import type { StoredChange } from '../../src/protocol/change'
import { observe, tick } from '../../src/protocol/clock'
import { Digester } from '../../src/protocol/digest'
import { parseEventId } from '../../src/protocol/events'
import { ConversationField, EntityType, type Change } from '../../src/protocol/generated'
import { checkPublicKey } from '../../src/protocol/ed25519'
import { ProblemError } from '../../src/protocol/errors'
import { keyRing, NotSigned } from '../../src/protocol/jws'
import { hasRunOut, newer, verifyKeySet, type VerifiedKeys } from '../../src/protocol/keySets'
import { merge } from '../../src/protocol/merge'
import { fold, isRunnable, Tree } from '../../src/protocol/messages'
import { CannotOpen, ReplyOpener, verifySealingKey } from '../../src/protocol/sealing'
import { verifyAccess } from '../../src/protocol/tokens'
import { unpackSegment } from '../../src/protocol/segments'
import {
  readAsleepPolicy,
  readFlag,
  readHeader,
  readId,
  readMainNode,
  readState,
  readText,
} from '../../src/protocol/values'
import { openCall, suite } from '../sync/sealedDoor'

interface JsonChange {
  clk: string
  etype: number
  eid: string
  field: number
  scope: string
  kid: number
  value: string
}

interface Vector {
  id: string
  comment: string
  input: never
  result: unknown
}

// Vectors whose runner has another name than their file.
const RUNNERS: Record<string, string> = { purge: 'merge' }

const folder = new URL('../../../shared/vectors/', import.meta.url)

function change({ clk, etype, eid, field, scope, kid, value }: JsonChange): Change {
  return [fromHex(clk), etype, fromHex(eid), field, fromHex(scope), kid, fromHex(value)]
}

function json([clk, etype, eid, field, scope, kid, value]: StoredChange): JsonChange {
  return { clk: toHex(clk), etype, eid: toHex(eid), field, scope: toHex(scope), kid, value: toHex(value) }
}

interface TickInput {
  last: string
  now_ms: number
  device: string
}

interface ObserveInput {
  last: string
  seen: string
  now_ms: number
  max_ahead_ms: number
}

interface BytesInput {
  dseq: number
  change: JsonChange
}

interface ChainInput {
  previous: string
  first_dseq: number
  changes: JsonChange[]
}

function refused(error: unknown): null {
  if (error instanceof CannotOpen) return null
  throw error
}

const runners: Record<string, (input: never) => unknown> = {
  clock(input: TickInput | ObserveInput) {
    const last = fromHex(input.last)
    return 'seen' in input
      ? toHex(observe(last, fromHex(input.seen), input.now_ms, input.max_ahead_ms))
      : toHex(tick(last, input.now_ms, fromHex(input.device)))
  },
  canonical(input: BytesInput | ChainInput) {
    return 'dseq' in input
      ? toHex(canonicalBytes(input.dseq, change(input.change)))
      : foldHashes(fromHex(input.previous), input.first_dseq, input.changes.map(change)).map(toHex)
  },
  merge(input: JsonChange[]) {
    const cells = new Map<string, StoredChange>()
    merge(cells, input.map(change))
    const order = ({ etype, eid, field }: JsonChange) => `${String(etype).padStart(5, '0')}${eid}${String(field)}`
    return [...cells.values()].map(json).sort((left, right) => (order(left) < order(right) ? -1 : 1))
  },
  digest(input: JsonChange[]) {
    const folded = new Digester().add(input.map(change))
    return { count: folded.count, digest: toHex(folded.digest) }
  },
  segments(input: string) {
    const { entities } = unpackSegment(fromHex(input))
    return entities.flatMap(({ cells }) => cells.map((cell) => ({ ...json(cell), seq: cell[7] })))
  },
  values({ kind, bytes }: { kind: string; bytes: string }) {
    const data = fromHex(bytes)
    if (kind === 'text') return readText(data)
    if (kind === 'flag') return readFlag(data)
    if (kind === 'state') return readState(data)?.state ?? null
    if (kind === 'asleep_policy') return readAsleepPolicy(data)
    if (kind === 'main_node') {
      const node = readMainNode(data)
      return node === '' ? 'whichever' : node
    }
    const header = readHeader(data)
    return header && { role: header.role, parent: header.parent ? toHex(header.parent) : null }
  },
  async sealed_calls({ private_key, node_id, request }: Record<string, string>) {
    const key = await suite.kem.deserializePrivateKey(new Uint8Array(fromHex(private_key ?? '')).buffer)
    const call = await openCall(key, node_id ?? '', fromHex(request ?? ''))
    const described = Object.entries(call).map(([name, value]: [string, unknown]) => [
      name,
      value instanceof Uint8Array ? toHex(value) : value,
    ])
    return Object.fromEntries(described) as unknown
  },
  async sealed_replies({ secret, request, chunks }: { secret: string; request: string; chunks: string[] }) {
    const opener = new ReplyOpener(fromHex(secret), fromHex(request))
    const opened: (string | null)[] = []
    for (const chunk of chunks) opened.push(await opener.open(fromHex(chunk)).then(toHex, refused))
    return opened
  },
  async sealing_keys({
    node_id,
    now_s,
    ...keys
  }: {
    node_key: string
    signed: string
    node_id: string
    now_s: number
  }) {
    return verifySealingKey({ ...keys, epoch: 1 }, node_id, now_s).then(toHex, refused)
  },
  messages(input: JsonChange[]) {
    const cells = input.map(change)
    const messages = fold(cells)
    const tree = new Tree(messages)
    const leaf = cells.find(
      ([, etype, , field]) => etype === EntityType.CONVERSATION && field === ConversationField.ACTIVE_LEAF,
    )
    const activeLeaf = leaf === undefined ? null : readId(leaf[6])
    const answers = [...messages.values()].filter((message) => message.role === 'assistant')
    return {
      messages: [...messages.keys()].sort(),
      path: tree.activePath(activeLeaf && toHex(activeLeaf)).map((message) => message.id),
      roots: tree.children(null).map((message) => message.id),
      runnable: answers
        .filter((message) => isRunnable(messages, message))
        .map((message) => message.id)
        .sort(),
    }
  },
  events({ text, answer }: { text: string; answer: string }) {
    return parseEventId(text, answer)
  },
}

const DAY_S = 86_400

interface TokenInput {
  token: string
  key: string
  issuer: string
  audience: string
  now_s: number
}

const verifiers: Record<string, (input: never) => unknown> = {
  async tokens({ token, key, issuer, audience, now_s }: TokenInput) {
    return verifyAccess(token, keyRing([key]), issuer, audience, now_s).catch((error: unknown) => {
      if (error instanceof ProblemError) return error.code
      throw error
    })
  },
  async key_sets({ key_set, root }: { key_set: string; root: string }) {
    try {
      const keys = await verifyKeySet(key_set, root)
      return { ...keys, keys: [...keys.keys.keys()] }
    } catch (error) {
      if (error instanceof NotSigned) return null
      throw error
    }
  },
  keys(hex: string) {
    try {
      checkPublicKey(fromHex(hex))
      return true
    } catch (error) {
      if (error instanceof RangeError) return false
      throw error
    }
  },
}

const attacks = new URL('from_security/', folder)

describe.each(readdirSync(attacks))('K: %s, of those that attack the server and nodes', (name) => {
  const { vectors } = JSON.parse(readFileSync(new URL(name, attacks), 'utf8')) as { vectors: Vector[] }
  const run = verifiers[name.replace('.json', '')]

  it.each(vectors)('$id $comment', async ({ input, result }) => {
    expect(await run?.(input)).toEqual(result)
  })
})

describe('K8, K10: of two key sets', () => {
  const at = (version: number, issuedS: number) =>
    ({ issuer: 'domovoi-1', version, issuedS, expiresS: issuedS + DAY_S, keys: new Map() }) satisfies VerifiedKeys

  it('the later counts, and one of an older version is refused', () => {
    const [old, kept, later, next] = [at(1, 50), at(2, 10), at(2, 11), at(3, 5)]
    expect(newer(kept, null)).toBe(kept)
    expect(newer(kept, later)).toBe(later)
    expect(newer(later, kept)).toBe(later)
    expect(newer(next, later)).toBe(next)
    expect(() => newer(old, kept)).toThrow(NotSigned)
  })

  it('none is good past its end', () => {
    expect(hasRunOut(at(1, 0), DAY_S + 59)).toBe(false)
    expect(hasRunOut(at(1, 0), DAY_S + 60)).toBe(true)
  })
})

describe.each(readdirSync(folder).filter((name) => name.endsWith('.json')))('%s', (name) => {
  const { vectors } = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as { vectors: Vector[] }
  const file = name.replace('.json', '')
  const run = runners[RUNNERS[file] ?? file]

  it.each(vectors)('$id $comment', async ({ input, result }) => {
    expect(await run?.(input)).toEqual(result)
  })
})
