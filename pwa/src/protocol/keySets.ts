/** The server's signing keys, signed by its root key (rules K7, K8, K10). Twin of shared/key_sets.py. */
import { limits } from './generated'
import { keyRing, NotSigned, verify, type Keys } from './jws'

const KEY_SET_TYPE = 'keyset+jwt'
const MEMBERS = ['iss', 'ver', 'iat', 'exp', 'keys']

/** A key set whose signature was checked. Times are in seconds since 1970. */
export interface VerifiedKeys {
  issuer: string
  version: number
  issuedS: number
  expiresS: number
  keys: Keys
}

/** Returns the keys that the root, a public key in base64url, has signed. Throws NotSigned; NoEd25519 where this browser can't verify. */
export async function verifyKeySet(text: string, root: string): Promise<VerifiedKeys> {
  const payload = await verify(text, trusted([root]), KEY_SET_TYPE, limits.MAX_KEY_SET_BYTES)
  const { iss, ver, iat, exp, keys } = payload
  const isMalformed = Object.keys(payload).some((name) => !MEMBERS.includes(name)) || !isText(iss) || !isTexts(keys)
  if (isMalformed || !isNumber(ver) || !isNumber(iat) || !isNumber(exp)) throw new NotSigned('the key set is malformed')
  if (keys.length === 0 || exp < iat || exp > iat + limits.KEY_SET_LIFETIME_S) {
    throw new NotSigned('the key set is empty, or good for too long')
  }
  return { issuer: iss, version: ver, issuedS: iat, expiresS: exp, keys: trusted(keys) }
}

/**
 * Returns the newer key set. Throws NotSigned for a smaller version: whoever offers that wants an old key back. Several
 * processes of one server sign the same version at different times; that of a later time is kept.
 */
export function newer(offered: VerifiedKeys, kept: VerifiedKeys | null): VerifiedKeys {
  if (kept === null || offered.version > kept.version) return offered
  if (offered.version < kept.version) throw new NotSigned('an older key set than the one that is kept')
  return offered.issuedS > kept.issuedS ? offered : kept
}

/** Says whether the key set's days are over. */
export function hasRunOut(keys: VerifiedKeys, nowS: number): boolean {
  return keys.expiresS + limits.TOKEN_LEEWAY_S <= nowS
}

function trusted(encoded: readonly string[]): Keys {
  try {
    return keyRing(encoded)
  } catch (error) {
    throw error instanceof RangeError ? new NotSigned(error.message) : error
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText)
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
