import { computed } from 'vue'
import type { PeopleView } from './peopleTypes'
import { useServerAnswer } from './serverAnswer'
import type { Id } from './types'

/** Who uses a PC, and who manages it. Only the server knows. */
export function usePeople(node: Id): PeopleView {
  const { answer, problem, server, refresh } = useServerAnswer((server) => server.people(node))
  void refresh()
  return {
    people: computed(
      () =>
        answer.value?.map(({ account_id, username: name, level, is_you: isYou }) => ({
          ...{ id: account_id ?? null, name, isManager: level === 'manage', isYou },
        })) ?? null,
    ),
    problem,
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
