import { computed, shallowRef, watch } from 'vue'
import { ProblemError } from '../protocol/errors'
import type { Invitation } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import type { InvitationsView } from './types'

/** The invitations that the server's owner has made. Only the server knows, and it tells the owner alone. */
export function useInvitations(): InvitationsView {
  const { engine, session } = useDomovoi()
  const invitations = shallowRef<Invitation[] | null>(null)

  const server = () => {
    if (engine.value === null) throw new ProblemError('offline')
    return engine.value.server
  }
  const refresh = async () => {
    try {
      invitations.value = session.state.isOwner ? await server().invitations() : null
    } catch (error) {
      // What was told before stays on the screen.
      if (!(error instanceof ProblemError)) throw error
    }
  }
  watch(
    () => [engine.value?.link.connection, session.state.isOwner],
    () => void refresh(),
    { immediate: true },
  )
  return {
    invitations: computed(
      () =>
        invitations.value?.map(({ invitation_id: id, stage, expires_ms: expiresAt }) => ({ id, stage, expiresAt })) ??
        null,
    ),
    async invite() {
      const { code } = await server().invite()
      await refresh()
      return code
    },
    async takeBack({ id }) {
      await server().takeInvitationBack(id)
      await refresh()
    },
  }
}
