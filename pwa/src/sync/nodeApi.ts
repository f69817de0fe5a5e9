/** What a person does with a PC itself: its models and its keys. Over whichever route leads there now. */
import { ProblemError } from '../protocol/errors'
import type { ApiKey, ApiKeys, Library, NewApiKey, NodeStatus, PullState } from '../protocol/generated'
import type { Call } from './http'
import type { NodeClient } from './nodeClient'
import type { Route, Router } from './router'

export class NodeApi {
  constructor(
    private readonly nodes: NodeClient,
    private readonly router: Router,
    private readonly nodeId: string,
  ) {}

  async status(): Promise<NodeStatus> {
    return (await this.ask('/v1/status')) as NodeStatus
  }

  async library(): Promise<Library> {
    return (await this.ask('/v1/library')) as Library
  }

  /** Begins to fetch a model of the catalogue, or goes on with it. */
  async pull(id: string, acceptLicence: boolean): Promise<PullState> {
    return (await this.post('/v1/library/pull', { id, accept_licence: acceptLicence })) as PullState
  }

  async stopPull(file: string): Promise<void> {
    await this.post(`/v1/library/pulls/${encodeURIComponent(file)}/stop`)
  }

  /** Yields how fetching a file goes, up to its end. */
  async *pulling(file: string, signal: AbortSignal): AsyncGenerator<PullState> {
    const path = `/v1/library/pulls/${encodeURIComponent(file)}/events`
    for await (const { data } of this.nodes.watch(this.route(), path, signal)) yield JSON.parse(data) as PullState
  }

  /** Makes a model the PC's default. */
  async use(model: string): Promise<void> {
    await this.post('/v1/library/use', { model })
  }

  async remove(model: string): Promise<void> {
    await this.post('/v1/library/remove', { model })
  }

  async load(model: string): Promise<NodeStatus> {
    return (await this.post('/v1/library/load', { model })) as NodeStatus
  }

  async unload(model: string): Promise<NodeStatus> {
    return (await this.post('/v1/library/unload', { model })) as NodeStatus
  }

  /** Lets the PC answer on the network at home, or no more. */
  async letOnLocalNetwork(isOn: boolean): Promise<NodeStatus> {
    return (await this.post('/v1/local-network', { is_on: isOn })) as NodeStatus
  }

  async keys(): Promise<ApiKey[]> {
    return ((await this.ask('/v1/keys')) as ApiKeys).keys
  }

  /** Returns the new key with its secret, which nobody is told again. */
  async makeKey(name: string): Promise<NewApiKey> {
    return (await this.post('/v1/keys', { name })) as NewApiKey
  }

  async revokeKey(id: string): Promise<void> {
    await this.ask(`/v1/keys/${id}`, { method: 'DELETE' })
  }

  private async post(path: string, body?: object): Promise<unknown> {
    return this.ask(path, { method: 'POST', ...(body === undefined ? {} : { body }) })
  }

  private async ask(path: string, options: Pick<Call, 'method' | 'body'> = {}): Promise<unknown> {
    const route = this.route()
    try {
      return await this.nodes.ask(route, path, options)
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'offline') {
        this.router.reportFailure(route)
        throw new ProblemError('node_unreachable', error.message)
      }
      throw error
    }
  }

  private route(): Route {
    const route = this.router.best(this.nodeId)
    if (route === null) throw new ProblemError('node_unreachable')
    return route
  }
}
