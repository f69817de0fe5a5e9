import { computed } from 'vue'
import { useDomovoi } from '../stores/domovoi'
import type { SessionActions, SessionView } from './types'

/** What the leading tab heard from the server when it ended this login. */
const ENDED: readonly string[] = ['login_ended', 'device_revoked', 'device_forked', 'token_missing']

/** Who is logged in on this device, and logging in and out. */
export function useSession(): SessionView & SessionActions {
  const domovoi = useDomovoi()
  const { session, engine } = domovoi
  return {
    known: computed(() => session.state.account !== null),
    username: computed(() => session.state.account?.username ?? ''),
    ended: computed(() => session.state.ended || ENDED.includes(engine.value?.link.problem ?? '')),
    trouble: computed(() => domovoi.trouble.value),
    canVerify: computed(() => session.state.canVerify),
    async register({ username, password, deviceName, setupCode, invitation }) {
      await session.register({
        username,
        password,
        device_name: deviceName,
        setup_code: setupCode ?? null,
        invitation: invitation ?? null,
      })
      await domovoi.opened()
    },
    async login({ username, password, deviceName }) {
      await session.login({ username, password, device_name: deviceName })
      await domovoi.opened()
    },
    changePassword: async (now, next) => session.changePassword({ password: now, new_password: next }),
    async logout({ wipe }) {
      const accountId = session.state.account?.accountId
      await session.logout()
      domovoi.close()
      if (wipe && accountId !== undefined) await domovoi.forget(accountId)
    },
  }
}
