import * as local from '../local/actions'
import { trustNode } from '../local/nodeTrust'
import { ProblemError } from '../protocol/errors'
import { useDomovoi } from '../stores/domovoi'
import type { Engine } from '../sync/engine'
import { useSeveralNodes } from './useSeveralNodes'
import type { Actions } from './types'

/** What a person can do. Each writes in one transaction; the network follows by itself. */
export function useActions(): Actions {
  const domovoi = useDomovoi()
  const several = useSeveralNodes()
  const current = (): Engine => {
    if (domovoi.engine.value === null) throw new ProblemError('token_missing', 'No account is open.')
    return domovoi.engine.value
  }
  const node = async (): Promise<string> => {
    current()
    const chosen = (await several.choose()).node
    if (chosen === null) throw new ProblemError('node_unknown')
    return chosen.id
  }
  return {
    async send({ conversation, text, parent, model = null, longest, node: asked }) {
      const follows = parent === undefined ? {} : { parent }
      const sampling = longest === undefined ? {} : { max_tokens: longest }
      const to = asked ?? (await node())
      // The chosen model is one of the chosen PC's; another one answers with its own.
      const known = model !== null && several.hasModel(to, model) ? model : null
      const draft = { conversation, text, model: known, sampling, node: to, ...follows }
      const sent = await local.send(current().db, draft)
      domovoi.keepData()
      return sent.conversation
    },
    async regenerate(answer, asked) {
      await local.regenerate(current().db, answer, asked ?? (await node()))
    },
    async edit(message, text) {
      await local.edit(current().db, message, text, await node())
    },
    withdraw: async (message) => local.withdraw(current().db, message),
    stop: async (answer) => local.stop(current().db, answer),
    chooseBranch: async (message) => local.chooseBranch(current().db, message),
    rename: async (conversation, title) => local.rename(current().db, conversation, title),
    pin: async (conversation, pinned) => local.pin(current().db, conversation, pinned),
    removeConversation: async (conversation) => local.removeConversation(current().db, conversation),
    restoreConversation: async (conversation) => local.restoreConversation(current().db, conversation),
    purgeConversation: async (conversation) => local.purgeConversation(current().db, conversation),
    removeMessage: async (message) => local.removeMessage(current().db, message),
    async letOnLocalNetwork(id, isOn) {
      await current().nodeApi(id).letOnLocalNetwork(isOn)
    },
    removeNode: async (id) => current().server.unpairNode(id),
    async trustNode(id) {
      const { db, answers } = current()
      await trustNode(db, id)
      answers.reconsider()
    },
    async tryNow() {
      current().tryNow()
      return Promise.resolve()
    },
  }
}
