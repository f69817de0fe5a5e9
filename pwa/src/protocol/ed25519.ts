/** Ed25519 keys, and signatures by the browser's own means. Twin of the keys in shared/jws.py. */

const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
const PRIME = 2n ** 255n - 19n
const D = mod(-121665n * power(121666n, PRIME - 2n))
/** Ordinates of the points of small order, for which anyone could sign: orders 4, 1, 2 and twice 8. */
const ORDER_8 = littleEndian(
  Uint8Array.from('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'.match(/../g) ?? [], (hex) =>
    Number.parseInt(hex, 16),
  ),
)
const LOW_ORDER = new Set([0n, 1n, PRIME - 1n, ORDER_8, PRIME - ORDER_8])

/** This browser has no Ed25519: it is older, or the page did not come over https. */
export class NoEd25519 extends Error {
  override readonly name = 'NoEd25519'
}

/** Throws RangeError for 32 raw bytes that are no key, or one that anyone can sign for. */
export function checkPublicKey(raw: Uint8Array): void {
  const ordinate = littleEndian(raw) & (2n ** 255n - 1n)
  if (raw.length !== KEY_BYTES || ordinate >= PRIME || LOW_ORDER.has(ordinate) || !isOfCurve(ordinate)) {
    throw new RangeError('the key is not an Ed25519 key, or a weak one')
  }
}

/** Says whether the key has signed the message. Throws NoEd25519. */
export async function isSignedBy(raw: Uint8Array, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  if (signature.length !== SIGNATURE_BYTES) return false
  const key = await imported(new Uint8Array(raw))
  return crypto.subtle.verify('Ed25519', key, new Uint8Array(signature), new Uint8Array(message))
}

async function imported(raw: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  // Missing on plain http origins other than localhost, whatever the types say.
  const subtle = (globalThis.crypto as Partial<Crypto>).subtle
  if (subtle === undefined) throw new NoEd25519('this page has no cryptography')
  try {
    return await subtle.importKey('raw', raw, 'Ed25519', false, ['verify'])
  } catch (error) {
    throw new NoEd25519(error instanceof Error ? error.message : 'no Ed25519')
  }
}

/** Says whether a point has this ordinate: x² = (y² - 1) / (d y² + 1) has a root (RFC 8032, 5.1.3). */
function isOfCurve(ordinate: bigint): boolean {
  const square = mod(ordinate * ordinate)
  const xSquare = mod((square - 1n) * power(D * square + 1n, PRIME - 2n))
  return power(xSquare, (PRIME - 1n) / 2n) === 1n
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  let factor = mod(base)
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = mod(result * factor)
    factor = mod(factor * factor)
  }
  return result
}

function mod(value: bigint): bigint {
  const rest = value % PRIME
  return rest < 0n ? rest + PRIME : rest
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}
