/**
 * Typed values of the fields that people and nodes write (rules V1-V4). A value is MessagePack in a change.
 * A reader returns null for what this version does not understand (V3) and passes over unknown keys (V2).
 */
import { Decoder, Encoder } from '@msgpack/msgpack'
import { readUint, toHex } from './bytes'
import { ProblemError } from './errors'
import {
  ANSWER_STATES,
  ASLEEP_POLICIES,
  limits,
  type AsleepPolicy,
  type Header,
  type Request,
  type Sampling,
  type State,
} from './generated'

export type Role = Header['role']
type Members = Record<string, unknown>

// Made once: a new one for every value costs more than its work. `encode` gives a copy, not a view.
const decoder = new Decoder()
const encoder = new Encoder({ ignoreUndefined: true })
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const TEXT_HEADS: Readonly<Record<number, number>> = { 0xd9: 2, 0xda: 3, 0xdb: 5 }

const FINAL_STATES: ReadonlySet<string> = new Set(['done', 'stopped', 'interrupted', 'failed'])
/** The next request of a branch runs only after an answer that ended in one of these (Q3). */
const CONTINUABLE_STATES: ReadonlySet<string> = new Set(['done', 'stopped'])

export function isFinal(state: State | null): boolean {
  return state !== null && FINAL_STATES.has(state.state)
}

export function isContinuable(state: State | null): boolean {
  return state !== null && CONTINUABLE_STATES.has(state.state)
}

/** Returns the MessagePack of a value. Optional members that are undefined are left out. */
export function encodeValue(value: unknown): Uint8Array {
  return encoder.encode(value)
}

/** Returns the MessagePack of a person's text; throws ProblemError for lone surrogates and over-long text (V4). */
export function encodeText(text: string): Uint8Array {
  if (/\p{Surrogate}/u.test(text)) throw new ProblemError('bad_request', 'The text holds half a character.')
  if (text.length > limits.MAX_MESSAGE_CHARACTERS && Array.from(text).length > limits.MAX_MESSAGE_CHARACTERS) {
    throw new ProblemError('body_too_large', 'The message is too long.')
  }
  return encodeValue(text)
}

function decode(data: Uint8Array): unknown {
  try {
    return decoder.decode(data)
  } catch (error) {
    if (error instanceof Error) return undefined
    throw error
  }
}

function decodeMap(data: Uint8Array): Members | null {
  const value = decode(data)
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? (value as Members)
    : null
}

/** A string is read here and not by the decoder, which lets malformed UTF-8 through. */
export function readText(data: Uint8Array): string | null {
  const start = textStart(data)
  if (start === null) return null
  try {
    return utf8.decode(data.subarray(start))
  } catch (error) {
    if (error instanceof TypeError) return null
    throw error
  }
}

/**
 * Returns what `readText` returns for each, by one call of the decoder: for a short text a call of its own takes longer
 * than the work.
 */
export function readTexts(all: readonly Uint8Array[]): (string | null)[] {
  const starts = all.map(textStart)
  const joined = new Uint8Array(all.reduce((sum, data, place) => sum + data.length - (starts[place] ?? data.length), 0))
  const ends: number[] = []
  let end = 0
  for (const [place, data] of all.entries()) {
    const start = starts[place] ?? data.length
    // Two texts that are cut within a character would be taken for one that is not.
    if (isContinuation(data[start] ?? 0)) return all.map(readText)
    joined.set(data.subarray(start), end)
    end += data.length - start
    ends.push(end)
  }
  try {
    return divided(utf8.decode(joined), joined, ends).map((text, place) => (starts[place] === null ? null : text))
  } catch (error) {
    if (error instanceof TypeError) return all.map(readText)
    throw error
  }
}

/** Returns the pieces of a text whose bytes end at `ends`. */
function divided(text: string, bytes: Uint8Array, ends: readonly number[]): string[] {
  const isAscii = text.length === bytes.length
  let [from, place, units] = [0, 0, 0]
  return ends.map((end) => {
    if (isAscii) units = end
    else {
      for (; place < end; place += 1) {
        const byte = bytes[place] ?? 0
        // What takes four bytes takes two of JavaScript's units.
        units += isContinuation(byte) ? 0 : byte < 0xf0 ? 1 : 2
      }
    }
    const piece = text.slice(from, units)
    from = units
    return piece
  })
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80
}

/** Returns where the text of a MessagePack string begins, or null for anything else. */
function textStart(data: Uint8Array): number | null {
  const start = headBytes(data[0] ?? 0)
  return start === null || data.length !== start + textBytes(data, start) ? null : start
}

/** How many bytes of a MessagePack string come before its text; null for anything else. */
function headBytes(first: number): number | null {
  if (first >= 0xa0 && first <= 0xbf) return 1
  return TEXT_HEADS[first] ?? null
}

function textBytes(data: Uint8Array, head: number): number {
  return head === 1 ? (data[0] ?? 0) - 0xa0 : readUint(data, 1, head - 1)
}

export function readFlag(data: Uint8Array): boolean | null {
  const value = decode(data)
  return typeof value === 'boolean' ? value : null
}

export function readId(data: Uint8Array): Uint8Array | null {
  const value = decode(data)
  return isId(value) ? value : null
}

/** Returns the id in hex of the node that an account wants answers from, '' for whichever is there (A2). */
export function readMainNode(data: Uint8Array): string | null {
  const value = decode(data)
  if (value === null) return ''
  return isId(value) ? toHex(value) : null
}

/** Returns what an account wants done while that node does not answer (A2). */
export function readAsleepPolicy(data: Uint8Array): AsleepPolicy | null {
  const value = decode(data)
  return ASLEEP_POLICIES.find((policy) => policy === value) ?? null
}

export function readHeader(data: Uint8Array): Header | null {
  const members = decodeMap(data)
  if (members === null) return null
  const { role, parent = null } = members
  if (role !== 'system' && role !== 'user' && role !== 'assistant') return null
  return parent === null || isId(parent) ? { role, parent } : null
}

export function readRequest(data: Uint8Array): Request | null {
  const members = decodeMap(data)
  if (members === null) return null
  const { node, model = null, sampling = {} } = members
  if (node !== null && !isId(node)) return null
  if (model !== null && typeof model !== 'string') return null
  return isSampling(sampling) ? { node, model, sampling } : null
}

const STATE_NUMBERS = [
  'prompt_tokens',
  'completion_tokens',
  'first_token_ms',
  'duration_ms',
  'dropped_messages',
] as const
const STATE_TEXTS = ['code', 'model', 'engine'] as const

export function readState(data: Uint8Array): State | null {
  const members = decodeMap(data)
  if (members === null || !ANSWER_STATES.some((name) => name === members['state'])) return null
  const texts = STATE_TEXTS.every((key) => isAbsent(members[key]) || typeof members[key] === 'string')
  const numbers = STATE_NUMBERS.every((key) => isAbsent(members[key]) || Number.isInteger(members[key]))
  return texts && numbers ? (members as unknown as State) : null
}

const SAMPLING_RANGES: Record<keyof Sampling, [least: number, greatest: number, whole: boolean]> = {
  temperature: [0, 5, false],
  top_p: [Number.MIN_VALUE, 1, false],
  min_p: [0, 1, false],
  top_k: [0, 1000, true],
  max_tokens: [1, 131_072, true],
  seed: [0, 2 ** 32 - 1, true],
  repeat_penalty: [Number.MIN_VALUE, 2, false],
  presence_penalty: [-2, 2, false],
  frequency_penalty: [-2, 2, false],
}

function isSampling(value: unknown): value is Sampling {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.entries(SAMPLING_RANGES).every(([key, [least, greatest, whole]]) => {
    const member = (value as Members)[key]
    if (isAbsent(member)) return true
    return typeof member === 'number' && member >= least && member <= greatest && (!whole || Number.isInteger(member))
  })
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null
}

function isId(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === limits.ENTITY_ID_BYTES
}
