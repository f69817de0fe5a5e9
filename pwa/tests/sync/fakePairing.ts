/** The account's side of pairing, as the real server keeps it; tests say what the PC does. */
import type { Pairing, PairingCode, PairingConfirmation, PairingRequest } from '../../src/protocol/generated'

export const PASSWORD = 'three plain words'
const PATH = '/api/v1/pairing'
const LIFETIME_MS = 600_000

export class FakePairing {
  /** The one code there is; null while there is none. */
  current: Pairing | null = null
  private made = 0

  /** A PC comes with the code and proves its key. */
  arrive(name: string, check: string): void {
    this.change({ stage: 'pending', node_id: 'cd'.repeat(16), name, check, level: 'manage' })
  }

  change(more: Partial<Pairing>): void {
    if (this.current === null) throw new Error('there is no code')
    this.current = { ...this.current, ...more }
  }

  /** Returns the body of an answer, the code of a refusal, or null for a path that is no pairing's. */
  handle(path: string, method: string, body: unknown, nowMs: number): object | string | null {
    if (!path.startsWith(PATH)) return null
    if (path === PATH) return this.begin((body as PairingRequest).password, nowMs)
    const [id, action] = path.slice(PATH.length + 1).split('/')
    if (this.current?.pairing_id !== id) return 'not_found'
    if (method === 'DELETE') this.change({ stage: 'refused' })
    if (action === 'confirm') {
      const isIt = this.current?.stage === 'pending' && this.current.check === (body as PairingConfirmation).check
      if (!isIt) return 'pairing_check_wrong'
      this.change({ stage: 'paired' })
    }
    return { ...this.current, server_ms: nowMs }
  }

  private begin(password: string, nowMs: number): object | string {
    if (password !== PASSWORD) return 'login_wrong'
    this.made += 1
    const times = { expires_ms: nowMs + LIFETIME_MS, server_ms: nowMs }
    const pairing_id = String(this.made).padStart(32, '0')
    this.current = { pairing_id, stage: 'waiting', ...times }
    return { pairing_id, code: '7KQ2-M9XD-4HTB-W3Z8', ...times } satisfies PairingCode
  }
}
