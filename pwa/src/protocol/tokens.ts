/** The app's verifier of access tokens (rules K1 to K3). Twin of shared/tokens.py. */
import { ProblemError } from './errors'
import { limits } from './generated'
import { keyId as keyIdOf, NotSigned, verify, type Keys } from './jws'

export const SYNC_AUDIENCE = 'sync'
const ACCESS_TYPE = 'at+jwt'

/** Claims of an access token, of those that the app looks at. Times are in seconds since 1970. */
export interface Claims {
  iss: string
  aud: string
  sub: string
  did: string
  iat: number
  exp: number
}

export function nodeAudience(nodeId: string): string {
  return `node:${nodeId}`
}

/**
 * Returns the claims of a valid access token. Throws ProblemError `token_expired` past its end, `token_invalid` for
 * everything else; NoEd25519 where this browser can't verify.
 */
export async function verifyAccess(
  token: string,
  keys: Keys,
  issuer: string,
  audience: string,
  nowS: number,
): Promise<Claims> {
  const payload = await verify(token, keys, ACCESS_TYPE, limits.MAX_TOKEN_BYTES).catch(refuse)
  return checkClaims(payload, issuer, audience, nowS)
}

/** Returns the `kid` of a token that is not verified yet. Throws ProblemError `token_invalid` when it has none. */
export function keyId(token: string): string {
  try {
    return keyIdOf(token, limits.MAX_TOKEN_BYTES)
  } catch (error) {
    return refuse(error)
  }
}

function checkClaims(payload: Record<string, unknown>, issuer: string, audience: string, nowS: number): Claims {
  const { iat, nbf, exp, iss, aud, sub, did, jti, scope, cnf, auth_time: authTime = 0 } = payload
  if (!isTime(iat) || !isTime(nbf) || !isTime(exp) || !isTime(authTime)) throw new ProblemError('token_invalid')
  const soon = nowS + limits.TOKEN_LEEWAY_S
  if (exp - iat > limits.TOKEN_LIFETIME_S || iat > soon || nbf > soon) throw new ProblemError('token_invalid')
  if (exp + limits.TOKEN_LEEWAY_S <= nowS) throw new ProblemError('token_expired')
  const isOurs = aud === audience && iss === issuer && isFilled(jti) && isFilled(scope) && isConfirmation(cnf)
  if (!isOurs || !isFilled(sub) || !isFilled(did)) throw new ProblemError('token_invalid')
  return { iss: issuer, aud: audience, sub, did, iat, exp }
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isConfirmation(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === 'object' && 'jkt' in value && isFilled(value.jkt))
}

function refuse(error: unknown): never {
  throw error instanceof NotSigned ? new ProblemError('token_invalid', error.message) : error
}
