/** A node's side of sealed calls, over any handler of the calls inside. */
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core'
import { decode, encode } from '@msgpack/msgpack'
import { sha256 } from '@noble/hashes/sha2.js'
import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { fromBase64url, thumbprint, base64url } from '../../src/protocol/jws'
import { limits, type SealedCall } from '../../src/protocol/generated'
import { nodeIdOf, padded, SEALED, unpadded } from '../../src/protocol/sealing'
import { toBase64 } from './base64'
import { problem, reply } from './fakeServer'

export const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
})

/** An Ed25519 key that signs as nodes do. */
export class NodeKey {
  private readonly key
  readonly raw: Uint8Array
  readonly nodeId: string

  constructor(seed: number) {
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, seed)])
    this.key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    this.raw = fromBase64url(createPublicKey(this.key).export({ format: 'jwk' }).x ?? '')
    this.nodeId = nodeIdOf(this.raw)
  }

  sign(payload: object): string {
    const part = (value: object) => base64url(new TextEncoder().encode(JSON.stringify(value)))
    const signed = `${part({ typ: 'sealing+jwt', alg: 'EdDSA', kid: thumbprint(this.raw) })}.${part(payload)}`
    return `${signed}.${base64url(sign(null, Buffer.from(signed), this.key))}`
  }
}

export type Handler = (path: string, init: RequestInit) => Response

export class SealedDoor {
  epoch = 1_000
  /** What was asked inside, in order. */
  readonly calls: SealedCall[] = []
  private pair: Promise<CryptoKeyPair> | null = null

  constructor(
    readonly node: NodeKey,
    private readonly inside: Handler,
  ) {}

  /** Forgets its key, as a node that restarts does. */
  restart(): void {
    this.pair = null
    this.epoch += 1_000
  }

  async handle(path: string, init: RequestInit): Promise<Response> {
    if (path === '/v1/keys') return reply(await this.published())
    if (path === '/healthz') return this.inside(path, init)
    if (path !== '/v1/sealed') return problem(404, 'not_found')
    const request = init.body as Uint8Array
    const call = await this.opened(request).catch(() => null)
    if (call === null) return problem(400, 'cannot_open')
    this.calls.push(call)
    const sealer = new ReplySealer(call.reply_secret, request)
    if (call.node_epoch !== this.epoch) return sealer.whole(problem(409, 'stale_epoch', { epoch: this.epoch }))
    const body = call.body?.length === 0 ? {} : { body: call.body as Uint8Array<ArrayBuffer> }
    const headers = { Authorization: `Bearer ${call.token ?? ''}`, 'Last-Event-ID': call.last_event ?? '' }
    const signal = init.signal == null ? {} : { signal: init.signal }
    const answer = this.inside(call.path, { method: call.method, headers, ...body, ...signal })
    const isStream = answer.headers.get('Content-Type') === 'text/event-stream'
    return isStream ? sealer.stream(answer) : sealer.whole(answer)
  }

  async published(nowS = Math.floor(Date.now() / 1000)) {
    const { publicKey } = await this.keys()
    const key = base64url(new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)))
    const payload = { iss: this.node.nodeId, key, iat: nowS, exp: nowS + limits.SEALING_KEY_KEPT_S }
    return { node_key: base64url(this.node.raw), signed: this.node.sign(payload), epoch: this.epoch }
  }

  private async opened(request: Uint8Array): Promise<SealedCall> {
    const { privateKey } = await this.keys()
    return openCall(privateKey, this.node.nodeId, request)
  }

  private keys(): Promise<CryptoKeyPair> {
    this.pair ??= suite.kem.generateKeyPair()
    return this.pair
  }
}

/** Opens a call as a node does. */
export async function openCall(privateKey: CryptoKey, nodeId: string, request: Uint8Array): Promise<SealedCall> {
  const info = new TextEncoder().encode(`domovoi/1 call ${nodeId}`).buffer
  const enc = new Uint8Array(request.subarray(0, 32)).buffer
  const ciphertext = new Uint8Array(request.subarray(32)).buffer
  return decode(
    unpadded(new Uint8Array(await suite.open({ recipientKey: privateKey, enc, info }, ciphertext))),
  ) as SealedCall
}

/** Seals a reply as a node does. */
export class ReplySealer {
  private readonly nonce = crypto.getRandomValues(new Uint8Array(32))
  private readonly key: Promise<CryptoKey>
  private number = 0

  constructor(secret: Uint8Array, request: Uint8Array) {
    const info = Buffer.concat([Buffer.from('domovoi/1 reply'), sha256(request)])
    const parameters = { name: 'HKDF', hash: 'SHA-256', salt: this.nonce, info }
    this.key = crypto.subtle
      .importKey('raw', new Uint8Array(secret), 'HKDF', false, ['deriveKey'])
      .then((base) => crypto.subtle.deriveKey(parameters, base, { name: 'AES-GCM', length: 256 }, false, ['encrypt']))
  }

  async seal(plaintext: Uint8Array, isFinal: boolean): Promise<Uint8Array<ArrayBuffer>> {
    const iv = new Uint8Array(12)
    new DataView(iv.buffer).setUint32(8, this.number)
    const ahead = this.number === 0 ? this.nonce : new Uint8Array()
    this.number += 1
    const flag = Uint8Array.of(isFinal ? 1 : 0)
    const parameters = { name: 'AES-GCM', iv, additionalData: flag }
    const sealed = await crypto.subtle.encrypt(parameters, await this.key, padded(plaintext))
    return new Uint8Array(Buffer.concat([ahead, flag, new Uint8Array(sealed)]))
  }

  async whole(answer: Response): Promise<Response> {
    const body = new Uint8Array(await answer.arrayBuffer())
    const head = { status: answer.status, content_type: answer.headers.get('Content-Type') ?? '', body }
    return new Response(await this.seal(encode(head), true), { headers: { 'Content-Type': SEALED } })
  }

  stream(answer: Response): Response {
    const head = {
      status: answer.status,
      content_type: answer.headers.get('Content-Type') ?? '',
      body: new Uint8Array(),
    }
    const event = async (chunk: Uint8Array, isFinal: boolean) =>
      new TextEncoder().encode(`data: ${toBase64(await this.seal(chunk, isFinal))}\n\n`)
    const reader = answer.body?.getReader()
    const body = new ReadableStream<Uint8Array>({
      start: async (controller) => {
        controller.enqueue(await event(encode(head), false))
      },
      pull: async (controller) => {
        const { done = true, value } = (await reader?.read()) ?? {}
        controller.enqueue(await event(value ?? new Uint8Array(), done))
        if (done) controller.close()
      },
      cancel: () => reader?.cancel(),
    })
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  }
}
