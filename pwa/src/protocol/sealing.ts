/**
 * Sealed calls: what the app asks of a node is read by that node alone, whoever carries it (rules H). Twin of
 * shared/sealing.py, as far as an app needs it: it seals calls and opens replies.
 */
import type { CipherSuite } from '@hpke/core'
import { encode } from '@msgpack/msgpack'
import { sha256 } from '@noble/hashes/sha2.js'
import { toHex, writeUint } from './bytes'
import { limits, type SealedCall, type SealingKeys } from './generated'
import { fromBase64url, keyRing, NotSigned, verify } from './jws'

export const SEALED = 'application/domovoi-sealed'
const SEALING_KEY_TYPE = 'sealing+jwt'
const MEMBERS = ['iss', 'key', 'iat', 'exp']
const COUNTER_BYTES = 12
const END = 0x80
const FINAL = 1

/** What came was not sealed for this reader, or is no longer what was sealed. */
export class CannotOpen extends Error {
  override readonly name = 'CannotOpen'
}

/** This browser can't seal: it is older, or the page did not come over https. */
export class NoSealing extends Error {
  override readonly name = 'NoSealing'
}

export interface Sealed {
  request: Uint8Array<ArrayBuffer>
  reply: ReplyOpener
}

/** Seals a call to a node's key. `randomness` is 32 fresh bytes. Throws NoSealing. */
export async function sealCall(
  key: Uint8Array,
  nodeId: string,
  call: SealedCall,
  randomness: Uint8Array,
): Promise<Sealed> {
  const info = text(`domovoi/1 call ${nodeId}`)
  const plaintext = padded(encode(call, { ignoreUndefined: true }))
  try {
    const suite = await cipherSuite()
    const recipientPublicKey = await suite.kem.deserializePublicKey(new Uint8Array(key).buffer)
    const parameters = { recipientPublicKey, info: info.buffer, ekm: new Uint8Array(randomness).buffer }
    const { enc, ct } = await suite.seal(parameters, plaintext.buffer)
    const request = joined(new Uint8Array(enc), new Uint8Array(ct))
    return { request, reply: new ReplyOpener(call.reply_secret, request) }
  } catch (error) {
    throw new NoSealing(error instanceof Error ? error.message : 'no X25519')
  }
}

/** Opens the chunks of a reply in their order. What is cut, changed, repeated or missing is never passed on. */
export class ReplyOpener {
  isComplete = false
  private key: CryptoKey | null = null
  private number = 0
  private isBroken = false

  constructor(
    private readonly secret: Uint8Array,
    private readonly request: Uint8Array,
  ) {}

  /** Returns the next chunk; `isComplete` tells whether it was the last. Throws CannotOpen, and then for ever. */
  async open(sealed: Uint8Array): Promise<Uint8Array> {
    if (this.isComplete || this.isBroken) throw new CannotOpen('the reply is over')
    this.isBroken = true
    const chunk = this.key === null ? sealed.subarray(limits.SECRET_BYTES) : sealed
    this.key ??= await replyKey(this.secret, this.request, sealed.subarray(0, limits.SECRET_BYTES))
    const iv = new Uint8Array(COUNTER_BYTES)
    writeUint(iv, 0, COUNTER_BYTES, this.number)
    const flag = new Uint8Array(chunk.subarray(0, 1))
    const opened = await crypto.subtle
      .decrypt({ name: 'AES-GCM', iv, additionalData: flag }, this.key, new Uint8Array(chunk.subarray(1)))
      .catch(() => {
        throw new CannotOpen('not the chunk that was sealed')
      })
    const plaintext = unpadded(new Uint8Array(opened))
    this.isComplete = flag[0] === FINAL
    this.isBroken = false
    this.number += 1
    return plaintext
  }
}

/**
 * Returns the key to seal with, if the node with that id has signed it and it is still good. Throws CannotOpen, and
 * NoEd25519 where this browser can't verify.
 */
export async function verifySealingKey(keys: SealingKeys, nodeId: string, nowS: number): Promise<Uint8Array> {
  try {
    const raw = fromBase64url(keys.node_key)
    const payload = await verify(keys.signed, keyRing([keys.node_key]), SEALING_KEY_TYPE, limits.MAX_SEALING_KEY_BYTES)
    const { iss, key, iat, exp } = payload
    const isOther = Object.keys(payload).some((name) => !MEMBERS.includes(name)) || iss !== nodeId
    if (isOther || nodeIdOf(raw) !== nodeId) throw new CannotOpen("another node's key")
    if (typeof key !== 'string' || !isTime(iat) || !isTime(exp)) throw new CannotOpen("the key's record is malformed")
    if (exp - iat > limits.SEALING_KEY_KEPT_S || exp + limits.TOKEN_LEEWAY_S <= nowS) {
      throw new CannotOpen("the key's days are over")
    }
    const sealingKey = fromBase64url(key)
    if (sealingKey.length !== limits.SEALING_KEY_BYTES) throw new CannotOpen('no key')
    return sealingKey
  } catch (error) {
    if (error instanceof NotSigned || error instanceof RangeError) throw new CannotOpen(error.message)
    throw error
  }
}

/** Returns the id of the node whose raw Ed25519 public key this is: the key certifies the id. */
export function nodeIdOf(publicKey: Uint8Array): string {
  return toHex(sha256(joined(text('domovoi/1 node'), publicKey)).subarray(0, limits.NODE_ID_BYTES))
}

/** Puts a mark and zeros behind a plaintext, to whole blocks: lengths tell less (ISO/IEC 7816-4). */
export function padded(plaintext: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = Math.ceil((plaintext.length + 1) / limits.SEALED_BLOCK_BYTES) * limits.SEALED_BLOCK_BYTES
  const whole = new Uint8Array(size)
  whole.set(plaintext)
  whole[plaintext.length] = END
  return whole
}

export function unpadded(whole: Uint8Array): Uint8Array {
  const end = whole.findLastIndex((byte) => byte !== 0)
  if (whole.length % limits.SEALED_BLOCK_BYTES !== 0 || whole[end] !== END) throw new CannotOpen('the padding is wrong')
  return whole.subarray(0, end)
}

async function replyKey(secret: Uint8Array, request: Uint8Array, nonce: Uint8Array): Promise<CryptoKey> {
  const { subtle } = crypto
  const base = await subtle.importKey('raw', new Uint8Array(secret), 'HKDF', false, ['deriveKey'])
  const info = joined(text('domovoi/1 reply'), sha256(request))
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(nonce), info }
  return subtle.deriveKey(parameters, base, { name: 'AES-GCM', length: 256 }, false, ['decrypt'])
}

let suite: Promise<CipherSuite> | null = null

/** Loaded with the first call, and not with the app. */
async function cipherSuite(): Promise<CipherSuite> {
  suite ??= import('@hpke/core').then(
    ({ Aes256Gcm, CipherSuite: Suite, DhkemX25519HkdfSha256, HkdfSha256 }) =>
      new Suite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() }),
  )
  return suite
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function text(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value)
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(left.length + right.length)
  whole.set(left)
  whole.set(right, left.length)
  return whole
}
