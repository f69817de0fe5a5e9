/** Everything that one open account runs in this tab. */
import { shallowReactive, watch } from 'vue'
import type { AccountDatabase } from '../local/database'
import { checkNode } from '../local/nodeTrust'
import { readNodes } from '../local/reads'
import { watchThaws } from '../local/thaw'
import { watchQuery } from '../local/watchQuery'
import { Answers } from './answers'
import type { Fetch } from './http'
import { FIRST_LINK_STATE, Link, type LinkState } from './link'
import { Logins } from './logins'
import { NodeApi } from './nodeApi'
import { NodeClient } from './nodeClient'
import { nodeProbe } from './probe'
import { Router, type Route } from './router'
import { SealedCalls } from './sealedCalls'
import { Server } from './server'
import type { Session } from './session'
import { SharedState, type Tabs } from './tabs'
import { isRunning } from './wait'
import type { LocalNetworkPermission, PageAddress } from './ways'

export interface EngineOptions {
  db: AccountDatabase
  session: Session
  tabs: Tabs
  fetcher: Fetch
  /** Origin of the server; '' for the page's own. */
  origin: string
  page: PageAddress
  /** What the browser lets the page do on the network at home; reactive. */
  permission: () => LocalNetworkPermission
  isVisible: () => boolean
}

export class Engine {
  readonly db: AccountDatabase
  readonly router: Router
  readonly answers: Answers
  readonly server: Server
  readonly logins: Logins
  readonly link: LinkState = shallowReactive({ ...FIRST_LINK_STATE })
  private readonly shared: SharedState<LinkState>
  private readonly connection: Link
  private readonly nodes: NodeClient
  private readonly stopping = new AbortController()
  private isLeading = false

  constructor(private readonly options: EngineOptions) {
    const { db, session, fetcher, origin, page, permission, isVisible } = options
    const server = new Server(session, fetcher, origin)
    this.db = db
    this.server = server
    this.logins = new Logins(db, server)
    this.shared = new SharedState(`domovoi-link-${db.accountId}`, this.link, () => {
      this.connection.restart()
    })
    this.connection = new Link({ db, server, session, logins: this.logins, shared: this.shared })
    const calls = new SealedCalls({
      fetcher,
      authorization: () => server.authorization(),
      now: () => server.keys.now(),
      randomBytes: db.environment.randomBytes,
      checkNode: (nodeId) => checkNode(db, nodeId),
    })
    this.router = new Router({
      server,
      probe: nodeProbe(fetcher, server, calls),
      page,
      permission,
      isVisible,
      now: db.environment.now,
    })
    this.nodes = new NodeClient(db, server, calls)
    this.answers = new Answers({
      db,
      router: this.router,
      nodes: this.nodes,
      isLeading: () => this.isLeading,
    })
  }

  /** Runs until `stop`. Rejects when a part of it fails unexpectedly. */
  async run(): Promise<void> {
    const { signal } = this.stopping
    const stopWatching = this.watchSituation()
    try {
      await Promise.all([this.router.run(signal), this.answers.run(signal), this.lead(signal)])
    } finally {
      stopWatching()
      this.shared.close()
    }
  }

  stop(): void {
    this.stopping.abort()
  }

  /** A conversation is on the screen until the function returned is called. */
  show(conversation: string): () => void {
    this.connection.readAhead(conversation)
    return this.answers.open(conversation)
  }

  /** What can be asked of a node besides answers. */
  nodeApi(nodeId: string): NodeApi {
    return new NodeApi(this.nodes, this.router, nodeId)
  }

  /** Tries everything now: connection, routes, streams. */
  tryNow(): void {
    this.shared.wake()
    this.router.tryAgain()
    this.answers.resume()
  }

  /** The device may be on another network: does the same, and trusts nothing that it knew of routes. */
  networkChanged(): void {
    this.router.startAfresh()
    this.tryNow()
  }

  private prepare(route: Route): void {
    this.nodes.prepare(route).catch((error: unknown) => {
      // A log-out closes the database below it.
      if (isRunning(this.stopping.signal)) throw error
    })
  }

  private async lead(signal: AbortSignal): Promise<void> {
    await this.options.tabs.lead(`domovoi-link-${this.db.accountId}`, signal, async (leading) => {
      this.isLeading = true
      try {
        await this.connection.run(leading)
      } finally {
        this.isLeading = false
        this.shared.follow()
      }
    })
  }

  /** Nodes, routes, the link and the login change; each change makes something else worth trying. */
  private watchSituation(): () => void {
    const nodes = watchQuery(
      () => readNodes(this.db),
      (list) => {
        this.router.setNodes(list ?? [])
      },
    )
    const routes = watch(
      () => [...this.router.state.best.values()].map(({ route }) => route.base).join(' '),
      () => {
        for (const { route } of this.router.state.best.values()) this.prepare(route)
        this.answers.reconsider()
      },
    )
    const link = watch(
      () => this.link.connection,
      () => {
        this.router.probeNow()
      },
    )
    const server = watch(
      () => this.router.state.serverMs !== null,
      (answers) => {
        if (answers && this.link.connection === 'down') this.shared.wake()
      },
    )
    const place = watch([() => this.link.address, this.options.permission], ([address], [before]) => {
      // The first one only tells where the device has been all the time.
      if (address === before || before !== null) this.router.startAfresh()
    })
    const login = watch(
      () => this.options.session.state.ended,
      (ended) => {
        if (!ended) this.shared.wake()
      },
    )
    const thaws = watchThaws(() => {
      this.shared.askAgain()
    })
    return () => {
      for (const stop of [thaws, nodes, routes, link, server, place, login]) stop()
    }
  }
}
