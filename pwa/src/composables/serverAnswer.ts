import { computed, shallowRef, type ComputedRef, type ShallowRef } from 'vue'
import { ProblemError } from '../protocol/errors'
import { useDomovoi } from '../stores/domovoi'
import type { Server } from '../sync/server'

export interface ServerAnswer<Answer> {
  /** The last answer, which stays while the server can't be asked; null before the first one. */
  answer: Readonly<ShallowRef<Answer | null>>
  /** Why the last question was not answered: a code of the closed set; null when it was. */
  problem: ComputedRef<string | null>
  /** The server, to change something. Throws ProblemError `offline` while no account is open. */
  server: () => Server
  /** Asks again. */
  refresh: () => Promise<void>
}

/** What only the server knows: asked by `ask` at each `refresh`. */
export function useServerAnswer<Answer>(ask: (server: Server) => Promise<Answer>): ServerAnswer<Answer> {
  const { engine } = useDomovoi()
  const answer = shallowRef<Answer | null>(null)
  const problem = shallowRef<string | null>(null)
  const server = () => {
    if (engine.value === null) throw new ProblemError('offline')
    return engine.value.server
  }
  const refresh = async () => {
    try {
      answer.value = await ask(server())
      problem.value = null
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      problem.value = error.code
    }
  }
  return { answer, problem: computed(() => problem.value), server, refresh }
}
