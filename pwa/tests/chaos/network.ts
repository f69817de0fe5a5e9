/** A browser's network under Node: six connections a host, cookies, Origin, and proxies where the addresses lead. */
import { connect, type Socket } from 'node:net'
import type { Fetch } from '../../src/sync/http'

const MOST_CONNECTIONS = 6

interface ConnectOptions {
  hostname: string
  port: string
}
type Connected = (error: Error | null, socket: Socket | null) => void
type Agent = new (options: {
  connections: number
  connect: (options: ConnectOptions, connected: Connected) => void
}) => object

/** Node's own fetch is undici, and tells its class of agents by its default one alone. */
async function agentClass(): Promise<Agent> {
  await fetch('data:,')
  const globals = globalThis as unknown as Record<symbol, object>
  const agent = globals[Symbol.for('undici.globalDispatcher.1')]
  if (agent === undefined) throw new Error('This Node has another fetch than the one that was expected.')
  return agent.constructor as Agent
}

/**
 * Returns what a page of `origin` calls with; `places` are the ports on this machine where an address such as
 * `10.77.0.1:8461` is really found. Any other address does not exist. `open` is what waits for an answer's head.
 */
export async function makeFetch(
  origin: string,
  places: Readonly<Record<string, number>>,
  open: Map<symbol, string>,
): Promise<Fetch> {
  const dispatcher = new (await agentClass())({
    connections: MOST_CONNECTIONS,
    connect({ hostname, port }, connected) {
      const place = places[`${hostname}:${port}`]
      if (place === undefined) {
        connected(new Error(`nobody is at ${hostname}:${port}`), null)
        return
      }
      const socket = connect({ host: '127.0.0.1', port: place, noDelay: true })
      const onError = (error: Error) => {
        connected(error, null)
      }
      socket.once('error', onError).once('connect', () => {
        socket.off('error', onError)
        connected(null, socket)
      })
    },
  })
  let cookie = ''
  return async (input, init = {}) => {
    const url = input as string
    const headers = new Headers(init.headers)
    const isOwn = url.startsWith(origin)
    if (!isOwn || (init.method ?? 'GET') !== 'GET') headers.set('Origin', origin)
    if (isOwn && cookie !== '') headers.set('Cookie', cookie)
    const call = Symbol(url)
    open.set(call, url.slice(url.indexOf('/', 'http://'.length)))
    const response = await fetch(url, { ...init, headers, dispatcher } as RequestInit).finally(() => open.delete(call))
    const set = response.headers.getSetCookie()[0]
    if (isOwn && set !== undefined) cookie = set.split(';')[0] ?? ''
    return response
  }
}
