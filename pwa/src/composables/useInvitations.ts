import { computed, watch } from 'vue'
import { useDomovoi } from '../stores/domovoi'
import { useServerAnswer } from './serverAnswer'
import type { InvitationsView } from './types'

/** The invitations that the server's owner has made. Only the server knows, and it tells the owner alone. */
export function useInvitations(): InvitationsView {
  const { engine, session } = useDomovoi()
  const { answer, server, refresh } = useServerAnswer(async (server) =>
    session.state.isOwner ? server.invitations() : null,
  )
  watch(
    () => [engine.value?.link.connection, session.state.isOwner],
    () => void refresh(),
    { immediate: true },
  )
  return {
    invitations: computed(
      () =>
        answer.value?.map(({ invitation_id: id, stage, expires_ms: expiresAt }) => ({ id, stage, expiresAt })) ?? null,
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
