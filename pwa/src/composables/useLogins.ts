import { computed } from 'vue'
import { hasCode, ProblemError } from '../protocol/errors'
import { useDomovoi } from '../stores/domovoi'
import { useLiveQuery } from './liveQuery'
import type { LoginsView } from './loginTypes'

/** Logins on other devices that a person has not judged yet. Kept here, so that one that came at night is seen at noon. */
export function useLogins(): LoginsView {
  const { engine } = useDomovoi()
  const kept = useLiveQuery(() => {
    const db = engine.value?.db
    return db === undefined ? null : async () => (await db.getMeta('logins'))?.open ?? []
  })
  const current = () => {
    if (engine.value === null) throw new ProblemError('offline')
    return engine.value
  }
  return {
    notices: computed(() => [...(kept.value ?? [])].sort((left, right) => left.at - right.at)),
    wasMine: async (notice) => current().logins.settle(notice),
    async wasNotMine(notice) {
      const { server, logins } = current()
      try {
        await server.revokeDevice(notice.deviceId)
      } catch (error) {
        // Another device was faster.
        if (!hasCode(error, 'not_found')) throw error
      }
      await logins.settle(notice)
    },
  }
}
