import { computed } from 'vue'
import { chooseAsleepPolicy, chooseMainNode, readAccountSettings, UNSETTLED } from '../local/accountSettings'
import { knownNodes } from '../local/reads'
import { ProblemError } from '../protocol/errors'
import { useDomovoi } from '../stores/domovoi'
import type { Node } from '../protocol/generated'
import { chooseNode } from '../sync/nodes'
import { useSituation } from './situation'
import type { NodeName, SeveralNodes } from './networkTypes'
import type { Id } from './types'

/** Which of several PCs is asked, and who else could be. */
export function useSeveralNodes(): SeveralNodes {
  const { engine } = useDomovoi()
  const { nodes, settings, strange } = useSituation()
  const best = () => engine.value?.router.state.best ?? new Map<string, never>()
  const open = () => {
    if (engine.value === null) throw new ProblemError('token_missing', 'No account is open.')
    return engine.value.db
  }
  const isThere = (id: Id) => best().has(id)
  return {
    settled: computed(() => settings.value ?? UNSETTLED),
    settleMain: async (id) => chooseMainNode(open(), id),
    settlePolicy: async (policy) => chooseAsleepPolicy(open(), policy),
    main: computed(() => {
      const chosen = nodes.value?.find((node) => node.node_id === settings.value?.mainNode)
      return chosen === undefined ? null : { ...named(chosen), isThere: isThere(chosen.node_id) }
    }),
    elsewhere(id) {
      const asked = nodes.value?.find((node) => node.node_id === id)
      if (asked === undefined || asked.awake || isThere(id)) return null
      const other = nodes.value?.find((node) => isThere(node.node_id))
      return other === undefined ? null : named(other)
    },
    async choose() {
      const db = engine.value?.db
      const all = nodes.value ?? (db === undefined ? [] : await knownNodes(db))
      // Nothing is asked of a PC that has taken another's place, until a person accepts it (H7).
      const list = all.filter(({ node_id: id }) => !strange.value.has(id))
      if (all.length > 0 && list.length === 0) throw new ProblemError('node_key_changed')
      const settled = settings.value ?? (db === undefined ? UNSETTLED : await readAccountSettings(db))
      const { node, instead } = chooseNode(list, best(), settled.mainNode, settled.asleepPolicy)
      return { node: node && named(node), instead: instead && named(instead) }
    },
    hasModel: (id, model) => nodes.value?.find((node) => node.node_id === id)?.status?.models?.includes(model) ?? true,
  }
}

function named({ node_id: id, name, status }: Node): NodeName {
  return { id, name, model: status?.model ?? null }
}
