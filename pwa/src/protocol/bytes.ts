/** Byte strings: compared as bytes, never as text, so that the order is the same in every language and store. */

export function compareBytes(left: Uint8Array, right: Uint8Array): number {
  const shared = Math.min(left.length, right.length)
  for (let index = 0; index < shared; index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0)
    if (difference !== 0) return difference
  }
  return left.length - right.length
}

export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && compareBytes(left, right) === 0
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX[byte] ?? ''
  return text
}

/** Decodes lower-case hex; throws RangeError for anything else. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) throw new RangeError('expected lower-case hex digits')
  const bytes = new Uint8Array(text.length / 2)
  for (let index = 0; index < bytes.length; index += 1) {
    bytes[index] = Number.parseInt(text.slice(2 * index, 2 * index + 2), 16)
  }
  return bytes
}

/** Decodes standard base64, which stands for bytes in JSON; throws DOMException when it is none. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}

/** Writes a whole number of up to 53 bits into `bytes`, big-endian. */
export function writeUint(bytes: Uint8Array, offset: number, size: number, value: number): void {
  for (let index = offset + size - 1; index >= offset; index -= 1) {
    bytes[index] = value % 256
    value = Math.floor(value / 256)
  }
}

/** Reads a whole number of up to 53 bits, big-endian. */
export function readUint(bytes: Uint8Array, offset: number, size: number): number {
  let value = 0
  for (let index = offset; index < offset + size; index += 1) value = value * 256 + (bytes[index] ?? 0)
  return value
}
