/** A house in memory: one server, one node, and browsers that talk to them. */
import { IDBFactory } from 'fake-indexeddb'
import { AccountRegistry } from '../../src/local/accounts'
import { browserEnvironment } from '../../src/local/database'
import { createDomovoi, type Domovoi } from '../../src/stores/domovoi'
import type { Fetch } from '../../src/sync/http'
import { onTestFinished, vi } from 'vitest'
import { MemoryStorage } from '../local/memoryStorage'
import { FakeNode } from './fakeNode'
import { FakeServer, problem } from './fakeServer'
import { NodeKey, SealedDoor } from './sealedDoor'

const NODE_KEY = new NodeKey(7)
export const NODE = NODE_KEY.nodeId
const DIRECT = 'http://localhost:8461'

export class House {
  readonly server = new FakeServer()
  readonly node = new FakeNode()
  /** What the relay leads to. */
  readonly door = new SealedDoor(NODE_KEY, (path, init) => this.node.handle(path, init))
  /** Whether the page may reach the node directly. */
  isDirectOpen = true
  /** What the server says, instead of passing calls on, and how often it has. */
  relayRefusal: string | null = null
  relayRefusals = 0

  constructor() {
    this.server.nodes = [this.describeNode(true)]
  }

  describeNode(awake: boolean) {
    const status = {
      name: 'Study PC',
      engine_state: 'ready',
      engine: 'llama_cpp',
      model: 'small',
      candidates: [{ scheme: 'http', host: 'localhost', port: 8461, kind: 'loopback' } as const],
    }
    return { node_id: NODE, name: 'Study PC', awake, since_ms: Date.now(), status, level: 'manage' as const }
  }

  /** A browser profile: its own storage, cookie and databases. */
  browser(): Browser {
    return new Browser(this)
  }

  async handle(url: string, init: RequestInit): Promise<Response> {
    init.signal?.throwIfAborted()
    if (url.startsWith(DIRECT)) {
      if (!this.isDirectOpen) throw new TypeError('fetch failed')
      return this.node.handle(url.slice(DIRECT.length), init)
    }
    if (!url.startsWith('/relay/')) return this.server.handle(url, init)
    if (!this.server.isUp) throw new TypeError('fetch failed')
    if (!this.node.isUp || !url.startsWith(`/relay/${NODE}/`)) return problem(503, 'node_unreachable')
    if (this.relayRefusal !== null && url.endsWith('/v1/sealed')) {
      this.relayRefusals += 1
      return problem(503, this.relayRefusal)
    }
    return this.door.handle(url.slice(`/relay/${NODE}`.length), init)
  }
}

export class Browser {
  readonly storage = new MemoryStorage()
  readonly environment = { ...browserEnvironment, indexedDB: new IDBFactory() }
  /** How often the browser was asked to keep the data. */
  keepings = 0
  private deviceCookie = ''

  constructor(private readonly house: House) {}

  /** Opens a tab; it is closed when the test is over. */
  open(): Domovoi {
    const domovoi = createDomovoi({
      fetcher: this.fetch,
      origin: '',
      page: { protocol: 'http:', host: 'localhost' },
      permissions: undefined,
      storage: this.storage,
      locks: undefined,
      environment: this.environment,
      isVisible: () => true,
      persist: () => {
        this.keepings += 1
        return Promise.resolve(true)
      },
    })
    onTestFinished(() => {
      domovoi.close()
    })
    return domovoi
  }

  async login(): Promise<Domovoi> {
    const domovoi = this.open()
    await domovoi.session.login({ username: 'anna', password: 'three plain words', device_name: 'Test' })
    await domovoi.opened()
    return domovoi
  }

  registry(): AccountRegistry {
    return new AccountRegistry(this.storage)
  }

  private readonly fetch: Fetch = async (input, init = {}) => {
    const url = input as string
    const headers = new Headers(init.headers)
    if (url.startsWith('/api/v1/auth/')) headers.set('Cookie', this.deviceCookie)
    const response = await this.house.handle(url, { ...init, headers: Object.fromEntries(headers.entries()) })
    if (/auth\/(login|register)$/.test(url) && response.ok) this.deviceCookie = await deviceOf(response.clone())
    return response
  }
}

async function deviceOf(response: Response): Promise<string> {
  const { decode } = await import('@msgpack/msgpack')
  return (decode(await response.arrayBuffer()) as { device_id: string }).device_id
}

/** Waits until `check` no longer throws. */
export async function eventually(check: () => void | Promise<void>): Promise<void> {
  await vi.waitFor(check, { timeout: 20_000, interval: 10 })
}
