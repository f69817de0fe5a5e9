/** Signed JSON: compact JWS with Ed25519, in the one spelling that is taken here (rules K1, K2). Twin of shared/jws.py. */
import { sha256 } from '@noble/hashes/sha2.js'
import { checkPublicKey, isSignedBy } from './ed25519'
import { parseObject } from './strictJson'

/** Raw public keys by their thumbprint. */
export type Keys = ReadonlyMap<string, Uint8Array>

/** What came is not JSON that one of these keys has signed. */
export class NotSigned extends Error {
  override readonly name = 'NotSigned'
}

export function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes))
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** Decodes canonical base64url without padding; throws NotSigned for any other spelling. */
export function fromBase64url(text: string): Uint8Array {
  if (!/^[A-Za-z0-9_-]+$/.test(text) || text.length % 4 === 1) throw new NotSigned('not base64url')
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) =>
    character.charCodeAt(0),
  )
  if (base64url(bytes) !== text) throw new NotSigned('base64url is not canonical')
  return bytes
}

/** Returns the RFC 7638 thumbprint of a raw Ed25519 public key. */
export function thumbprint(publicKey: Uint8Array): string {
  const members = `{"crv":"Ed25519","kty":"OKP","x":"${base64url(publicKey)}"}`
  return base64url(sha256(new TextEncoder().encode(members)))
}

/** Returns keys by their thumbprint. Throws NotSigned, or RangeError for what is no key to trust. */
export function keyRing(encoded: readonly string[]): Map<string, Uint8Array> {
  const raw = encoded.map(fromBase64url)
  raw.forEach(checkPublicKey)
  return new Map(raw.map((key) => [thumbprint(key), key]))
}

/** Returns the payload of what one of `keys` has signed as this `kind`. Throws NotSigned, and NoEd25519 where nothing can be verified. */
export async function verify(
  text: string,
  keys: Keys,
  kind: string,
  maxBytes: number,
): Promise<Record<string, unknown>> {
  const [header, payload, signature] = segments(text, maxBytes)
  const { typ, alg, kid, ...others } = jsonObject(header)
  const claims = jsonObject(payload)
  if (typ !== kind || alg !== 'EdDSA' || Object.keys(others).length > 0) throw new NotSigned('another header')
  const key = typeof kid === 'string' ? keys.get(kid) : undefined
  if (key === undefined) throw new NotSigned('an unknown key')
  const signed = new TextEncoder().encode(`${header}.${payload}`)
  if (!(await isSignedBy(key, fromBase64url(signature), signed))) throw new NotSigned('a wrong signature')
  return claims
}

/** Returns the `kid` of what is not verified yet. Throws NotSigned when it has none. */
export function keyId(text: string, maxBytes: number): string {
  const { kid } = jsonObject(segments(text, maxBytes)[0])
  if (typeof kid !== 'string') throw new NotSigned('no key is named')
  return kid
}

function segments(text: string, maxBytes: number): [string, string, string] {
  if (text.length > maxBytes) throw new NotSigned('too long')
  const [header, payload, signature, ...more] = text.split('.')
  if (header === undefined || payload === undefined || signature === undefined || more.length > 0) {
    throw new NotSigned('not three parts')
  }
  return [header, payload, signature]
}

function jsonObject(segment: string): Record<string, unknown> {
  const bytes = fromBase64url(segment)
  try {
    return parseObject(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (error) {
    throw new NotSigned(error instanceof Error ? error.message : 'not JSON')
  }
}
