/** Who uses a PC, as the interface shows them. */
import type { ComputedRef } from 'vue'

export interface PersonView {
  /** null for another than oneself on a PC that one does not manage. */
  id: string | null
  name: string
  isManager: boolean
  isYou: boolean
}

export interface PeopleView {
  /** By name; null until the server has told. Who does not manage the PC sees only who does, and themselves. */
  people: ComputedRef<PersonView[] | null>
  problem: ComputedRef<string | null>
  /** Makes the person manage the PC. Throws ProblemError `login_wrong` for another password. */
  makeManager(person: PersonView, password: string): Promise<void>
  /** Ends what the person may do on the PC. */
  endUse(person: PersonView): Promise<void>
}
