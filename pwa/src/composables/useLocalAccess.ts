import { computed } from 'vue'
import { useDomovoi } from '../stores/domovoi'
import { preferredNode } from '../sync/nodes'
import { baseOf } from '../sync/ways'
import { useSituation } from './situation'
import type { LocalAccessView, LocalObstacle } from './networkTypes'

/** What a person can do most about comes first. */
const OBSTACLES: readonly LocalObstacle[] = ['unasked', 'denied', 'nameless', 'forbidden']

/** What keeps this browser from the PC that would answer, if that PC seems to be in the same network. */
export function useLocalAccess(): LocalAccessView {
  const domovoi = useDomovoi()
  const { nodes } = useSituation()
  const blocked = computed(() => {
    const router = domovoi.engine.value?.router
    if (router === undefined) return null
    const node = preferredNode(nodes.value ?? [], router.state.best)
    if (node === null || !node.same_nat || router.best(node.node_id)?.kind === 'direct') return null
    const attempts = router.state.attempts.get(node.node_id) ?? []
    for (const obstacle of OBSTACLES) {
      const attempt = attempts.find(({ outcome }) => outcome === obstacle)
      if (attempt !== undefined) return { obstacle, candidate: attempt.candidate }
    }
    return null
  })
  return {
    obstacle: computed(() => blocked.value?.obstacle ?? null),
    async ask() {
      const candidate = blocked.value?.candidate
      if (candidate == null) return false
      return (await domovoi.askLocalNetwork(baseOf(candidate))) === 'granted'
    },
  }
}
