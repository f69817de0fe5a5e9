/** The app's composition root below the components: it alone knows what is made of what. */
import { inject, shallowRef, watch, type App, type InjectionKey, type ShallowRef } from 'vue'
import { AccountRegistry } from '../local/accounts'
import {
  AccountDatabase,
  browserEnvironment,
  SupersededError,
  type DatabaseTrouble,
  type Environment,
} from '../local/database'
import { Engine } from '../sync/engine'
import type { Fetch } from '../sync/http'
import { LocalNetwork } from '../sync/localNetwork'
import { openAccount, Session } from '../sync/session'
import { Tabs } from '../sync/tabs'
import { atHome, type LocalNetworkPermission, type PageAddress } from '../sync/ways'

export interface DomovoiOptions {
  fetcher: Fetch
  /** Origin of the server; '' for the page's own. */
  origin: string
  page: PageAddress
  permissions: Permissions | undefined
  storage: Storage
  locks: LockManager | undefined
  environment: Environment
  isVisible: () => boolean
  /** Asks the browser not to clear this device's data when space is short. */
  persist: () => Promise<unknown>
}

export interface Domovoi {
  session: Session
  registry: AccountRegistry
  /** The open account; null before the first login and while a database opens. */
  engine: Readonly<ShallowRef<Engine | null>>
  /** Another window of the app is in the way of this one's data. */
  trouble: Readonly<ShallowRef<DatabaseTrouble | null>>
  /** What the browser lets this page do on the network at home. */
  permission: LocalNetwork['permission']
  /** Has the browser ask the person, by a call to an address at home: only inside a click. */
  askLocalNetwork(base: string): Promise<LocalNetworkPermission>
  /** Resolves once the account in use is open. */
  opened(): Promise<void>
  /** There is something worth keeping now: asks the browser to, once. What it says, the settings show. */
  keepData(): void
  /** Closes the account's data in this tab. */
  close(): void
  /** Removes an account's data from this device. */
  forget(accountId: string): Promise<void>
}

const KEY: InjectionKey<Domovoi> = Symbol('domovoi')

/** Builds everything and opens the account in use, if there is one. Nothing waits for a network. */
export function createDomovoi(options: DomovoiOptions): Domovoi {
  const { origin, page, isVisible } = options
  const fetcher: Fetch = async (input, init) => options.fetcher(input, atHome(input as string, init))
  const trouble = shallowRef<DatabaseTrouble | null>(null)
  const environment: Environment = {
    ...options.environment,
    onTrouble(now) {
      trouble.value = now
    },
  }
  const registry = new AccountRegistry(options.storage)
  const tabs = new Tabs(options.locks)
  const session = new Session({ fetcher, origin, registry, environment, tabs })
  const engine = shallowRef<Engine | null>(null)
  const localNetwork = new LocalNetwork(page, options.permissions)
  void localNetwork.watch()

  const close = () => {
    engine.value?.stop()
    engine.value?.db.close()
    engine.value = null
  }
  const open = async (accountId: string) => {
    const db = await openAccount(accountId, environment)
    if (session.state.account?.accountId !== accountId) {
      db.close()
      return
    }
    const opened = new Engine({
      db,
      session,
      tabs,
      fetcher,
      origin,
      page,
      permission: () => localNetwork.permission.value,
      isVisible,
    })
    engine.value = opened
    await opened.run()
  }
  watch(
    () => session.state.account?.accountId,
    (accountId) => {
      close()
      if (accountId === undefined) return
      open(accountId).catch((error: unknown) => {
        // Told by `trouble`: this window can do nothing but reload.
        if (!(error instanceof SupersededError)) throw error
      })
    },
    { immediate: true, flush: 'sync' },
  )
  const opened = async () => {
    if (engine.value !== null) return
    await new Promise<void>((resolve) => {
      watch(
        engine,
        () => {
          resolve()
        },
        { once: true, flush: 'sync' },
      )
    })
  }
  let isAsked = false
  const keepData = () => {
    if (isAsked) return
    isAsked = true
    options.persist().catch((error: unknown) => {
      console.warn('the browser can not be asked to keep the data', error)
    })
  }
  const forget = async (accountId: string) => {
    registry.forget(accountId)
    await new AccountDatabase(accountId, environment).delete()
  }
  const askLocalNetwork = async (base: string) => localNetwork.ask(options.fetcher, base)
  const { permission } = localNetwork
  return { session, registry, engine, trouble, permission, askLocalNetwork, opened, keepData, close, forget }
}

/** Gives the app its Domovoi and lets the page's own events wake it. */
export function installDomovoi(app: App): Domovoi {
  const domovoi = createDomovoi({
    fetcher: (input, init) => fetch(input, init),
    origin: '',
    page: { protocol: location.protocol, host: location.hostname },
    // Missing on plain http origins other than localhost, whatever the types say.
    permissions: (navigator as { permissions?: Permissions }).permissions,
    storage: localStorage,
    // Missing on plain http origins other than localhost, whatever the types say.
    locks: (navigator as { locks?: LockManager }).locks,
    environment: browserEnvironment,
    isVisible: () => document.visibilityState === 'visible',
    // Missing on plain http origins other than localhost, whatever the types say.
    persist: async () => (navigator as { storage?: StorageManager }).storage?.persist(),
  })
  const wake = () => {
    domovoi.engine.value?.tryNow()
  }
  addEventListener('online', () => {
    domovoi.engine.value?.networkChanged()
  })
  addEventListener('pageshow', (event) => {
    if (event.persisted) wake()
  })
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') wake()
  })
  domovoi.registry.watch(() => {
    domovoi.session.follow()
  })
  app.provide(KEY, domovoi)
  return domovoi
}

/** Provides a Domovoi made by hand: for tests and other hosts. */
export function provideDomovoi(app: App, domovoi: Domovoi): void {
  app.provide(KEY, domovoi)
}

/** Returns the app's Domovoi; only inside `setup`. Throws Error where none was installed. */
export function useDomovoi(): Domovoi {
  const domovoi = inject(KEY)
  if (domovoi === undefined) throw new Error('installDomovoi has not been called')
  return domovoi
}
