import { computed, shallowRef, watch, type Ref } from 'vue'
import { ProblemError } from '../protocol/errors'
import type { ApiKey } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import { baseOf } from '../sync/ways'
import { useSituation } from './situation'
import type { Id, KeysView } from './types'

/** The keys for other programs that this account has made on one PC. */
export function useKeys(node: Readonly<Ref<Id | null>>): KeysView {
  const { engine } = useDomovoi()
  const { nodes } = useSituation()
  const keys = shallowRef<ApiKey[] | null>(null)
  const problem = shallowRef<string | null>(null)

  const api = () => {
    if (engine.value === null || node.value === null) throw new ProblemError('node_unreachable')
    return engine.value.nodeApi(node.value)
  }
  const refresh = async () => {
    try {
      keys.value = await api().keys()
      problem.value = null
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      problem.value = error.code
    }
  }
  watch(
    () => (node.value === null ? undefined : engine.value?.router.state.best.get(node.value)?.route.base),
    (base) => {
      if (base === undefined) problem.value = 'node_unreachable'
      else void refresh()
    },
    { immediate: true },
  )
  return {
    keys: computed(() => keys.value),
    problem: computed(() => problem.value),
    address: computed(() => {
      const own = nodes.value?.find(({ node_id: id }) => id === node.value)?.status?.candidates
      const here = own?.find(({ kind }) => kind === 'loopback')
      return here === undefined ? null : `${baseOf(here)}/v1`
    }),
    async make(name) {
      const made = await api().makeKey(name)
      await refresh()
      return made
    },
    async revoke(key) {
      await api().revokeKey(key.key_id)
      await refresh()
    },
  }
}
