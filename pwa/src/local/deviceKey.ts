/**
 * The key that this browser makes at each login, with which a node renews its token while the server is away (rule
 * K11). Its private half can be used here and never be read. A page that did not come over https has no such keys,
 * and then a token lasts for its day.
 */
import type { DeviceKey } from '../protocol/generated'

export interface OwnKey {
  privateKey: CryptoKey
  publicKey: DeviceKey
}

const ED25519 = { name: 'Ed25519' }
const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const CONTEXT = 'domovoi/1 renew '

/** Returns a new key, Ed25519 where the browser has it and P-256 elsewhere; null where it makes none. */
export async function makeKey(): Promise<OwnKey | null> {
  const subtle = (globalThis.crypto as Partial<Crypto>).subtle
  if (subtle === undefined) return null
  const pair = await generate(subtle, ED25519).catch(() => generate(subtle, P256))
  const { kty, crv, x, y } = await subtle.exportKey('jwk', pair.publicKey)
  const publicKey = { kty, crv, x, ...(y === undefined ? {} : { y }) } as DeviceKey
  return { privateKey: pair.privateKey, publicKey }
}

/** Signs that a token is to be renewed at a node, in answer to its challenge. */
export async function signRenewal(
  key: OwnKey,
  nodeId: string,
  challenge: Uint8Array,
  token: string,
): Promise<Uint8Array> {
  const algorithm = key.publicKey.kty === 'OKP' ? ED25519 : { name: 'ECDSA', hash: 'SHA-256' }
  const message = await renewalMessage(nodeId, challenge, token)
  return new Uint8Array(await crypto.subtle.sign(algorithm, key.privateKey, message))
}

/** As `renewal_message` in shared/device_keys.py. */
export async function renewalMessage(
  nodeId: string,
  challenge: Uint8Array,
  token: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const text = new TextEncoder()
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', text.encode(token)))
  return new Uint8Array([...text.encode(`${CONTEXT}${nodeId} `), ...challenge, ...hash])
}

async function generate(subtle: SubtleCrypto, algorithm: typeof ED25519 | typeof P256): Promise<CryptoKeyPair> {
  return (await subtle.generateKey(algorithm, false, ['sign', 'verify'])) as CryptoKeyPair
}
