/** What the browser lets this page do on the network at home, and asking for it. */
import { shallowRef, type ShallowRef } from 'vue'
import type { Fetch } from './http'
import { atHome, isAtHome, type LocalNetworkPermission, type PageAddress } from './ways'

/** Chromium's names for it, the newer one first. */
const NAMES = ['local-network', 'local-network-access']

export class LocalNetwork {
  readonly permission: Readonly<ShallowRef<LocalNetworkPermission>>
  private readonly state: ShallowRef<LocalNetworkPermission>

  constructor(
    private readonly page: PageAddress,
    /** Missing on plain http origins other than localhost. */
    private readonly permissions: Permissions | undefined,
  ) {
    this.state = shallowRef(isAtHome(page) ? 'unneeded' : 'unsupported')
    this.permission = this.state
  }

  /** Reads what the browser has decided, and again whenever a person changes it. */
  async watch(): Promise<void> {
    if (isAtHome(this.page)) return
    for (const name of NAMES) {
      const status = await this.permissions?.query({ name: name as PermissionName }).catch(() => null)
      if (status == null) continue
      this.state.value = status.state
      status.onchange = () => {
        this.state.value = status.state
      }
      return
    }
  }

  /** Has the browser ask the person, by a call to an address at home: only inside a click. */
  async ask(fetcher: Fetch, base: string): Promise<LocalNetworkPermission> {
    // Whether anybody answers there does not matter, and a person may take a while.
    const url = `${base}/healthz`
    await fetcher(url, atHome(url, { cache: 'no-store' })).catch(() => null)
    await this.watch()
    return this.state.value
  }
}
