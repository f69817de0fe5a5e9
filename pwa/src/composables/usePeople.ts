import { computed, shallowRef } from 'vue'
import { ProblemError } from '../protocol/errors'
import type { NodePerson } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import type { PeopleView } from './peopleTypes'
import type { Id } from './types'

/** Who uses a PC, and who manages it. Only the server knows. */
export function usePeople(node: Id): PeopleView {
  const { engine } = useDomovoi()
  const people = shallowRef<NodePerson[] | null>(null)
  const problem = shallowRef<string | null>(null)

  const server = () => {
    if (engine.value === null) throw new ProblemError('offline')
    return engine.value.server
  }
  const refresh = async () => {
    try {
      people.value = await server().people(node)
      problem.value = null
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      problem.value = error.code
    }
  }
  void refresh()
  return {
    people: computed(
      () =>
        people.value?.map(({ account_id, username: name, level, is_you: isYou }) => ({
          ...{ id: account_id ?? null, name, isManager: level === 'manage', isYou },
        })) ?? null,
    ),
    problem: computed(() => problem.value),
    async makeManager(person, password) {
      await server().changeManager(node, { account_id: person.id ?? '', password })
      await refresh()
    },
    async endUse(person) {
      await server().endUse(node, person.id ?? '')
      await refresh()
    },
  }
}
