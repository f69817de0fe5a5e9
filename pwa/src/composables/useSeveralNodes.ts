import { computed } from 'vue'
import { knownNodes } from '../local/reads'
import { mainNode, whenAsleep } from '../interface/chosenNode'
import { useDomovoi } from '../stores/domovoi'
import type { Node } from '../protocol/generated'
import { chooseNode } from '../sync/nodes'
import { useSituation } from './situation'
import type { NodeName, SeveralNodes } from './networkTypes'
import type { Id } from './types'

/** Which of several PCs is asked, and who else could be. */
export function useSeveralNodes(): SeveralNodes {
  const { engine } = useDomovoi()
  const { nodes } = useSituation()
  const best = () => engine.value?.router.state.best ?? new Map<string, never>()
  const isThere = (id: Id) => best().has(id)
  return {
    main: computed(() => {
      const chosen = nodes.value?.find((node) => node.node_id === mainNode.value)
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
      const list = nodes.value ?? (db === undefined ? [] : await knownNodes(db))
      const { node, instead } = chooseNode(list, best(), mainNode.value, whenAsleep.value)
      return { node: node && named(node), instead: instead && named(instead) }
    },
    hasModel: (id, model) => nodes.value?.find((node) => node.node_id === id)?.status?.models?.includes(model) ?? true,
  }
}

function named({ node_id: id, name, status }: Node): NodeName {
  return { id, name, model: status?.model ?? null }
}
