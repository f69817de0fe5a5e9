/** A server's keys and what it signs with them; `tests/inference_node/authority.py` is the same for nodes. */
import type { KeySet } from '../../src/protocol/generated'
import { base64url, thumbprint } from '../../src/protocol/jws'

export interface SigningKey {
  raw: Uint8Array
  privateKey: CryptoKey
}

export async function makeSigningKey(): Promise<SigningKey> {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))
  return { raw, privateKey: pair.privateKey }
}

export async function sign(payload: object, key: SigningKey, typ: string): Promise<string> {
  const header = { typ, alg: 'EdDSA', kid: thumbprint(key.raw) }
  const encoder = new TextEncoder()
  const signed = [header, payload].map((part) => base64url(encoder.encode(JSON.stringify(part)))).join('.')
  const signature = await crypto.subtle.sign('Ed25519', key.privateKey, encoder.encode(signed))
  return `${signed}.${base64url(new Uint8Array(signature))}`
}

export class Authority {
  version = 1

  private constructor(
    readonly root: SigningKey,
    public current: SigningKey,
    readonly issuer: string,
  ) {}

  static async make(issuer = 'domovoi-1'): Promise<Authority> {
    return new Authority(await makeSigningKey(), await makeSigningKey(), issuer)
  }

  /** Signs with another key from now on, and trusts the one before no more. */
  async rotate(): Promise<void> {
    this.version += 1
    this.current = await makeSigningKey()
  }

  async keySet(nowS: number, more: object = {}): Promise<KeySet> {
    const keys = [base64url(this.current.raw)]
    const claims = { iss: this.issuer, ver: this.version, iat: nowS, exp: nowS + 30 * 86_400, keys, ...more }
    const root = { x: base64url(this.root.raw), kid: thumbprint(this.root.raw), kty: 'OKP', crv: 'Ed25519' }
    return { issuer: this.issuer, keys: [], root, signed: await sign(claims, this.root, 'keyset+jwt') }
  }

  async token(nowS: number, more: object = {}): Promise<string> {
    const times = { iat: nowS, nbf: nowS, exp: nowS + 86_400 }
    const claims = { iss: this.issuer, aud: 'sync', jti: 'j', scope: 'account', ...times, ...more }
    return sign(claims, this.current, 'at+jwt')
  }
}
