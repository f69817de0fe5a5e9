/** What the interface knows of ways to a PC, and of what keeps it from them. */
import type { ComputedRef } from 'vue'
import type { AccountSettings } from '../local/accountSettings'
import type { AsleepPolicy } from '../protocol/generated'
import type { Id } from './types'

export type { AccountSettings, AsleepPolicy }

/** How a PC went, as far as the server saw it: it said so, fell silent, or its connection broke (T8). */
export type Departure = 'stopped' | 'silent' | 'lost' | 'unknown'

/** What leads there: the server, a name with a certificate, a network at home, a VPN, virtual machines, this machine. */
export type WayKind = 'relay' | 'name' | 'lan' | 'vpn' | 'virtual' | 'loopback'

/**
 * What came of trying; the last three were not tried: nobody was asked, somebody refused, the browser never does. A way is
 * `nameless` whose name opened nothing at once.
 */
export type WayOutcome = 'open' | 'silent' | 'stranger' | 'nameless' | 'resting' | 'unasked' | 'denied' | 'forbidden'

/** One way to a PC that was tried, or could not be. */
export interface WayView {
  kind: WayKind
  /** Host and port; '' for the relay. */
  address: string
  outcome: WayOutcome
  /** Round trip, or how long it took to learn that nobody answers, ms. */
  ms: number | null
  isInUse: boolean
}

/** Why answers do not come straight from a PC that seems to be in the same network. */
export type LocalObstacle = 'unasked' | 'denied' | 'nameless' | 'forbidden'

export interface LocalAccessView {
  /** null where nothing is in the way, or the PC does not seem to be near. */
  obstacle: ComputedRef<LocalObstacle | null>
  /** Has the browser ask: only inside a click. Says whether the person agreed. */
  ask(): Promise<boolean>
}

/** A PC, and the model that it answered with last. */
export interface NodeName {
  id: Id
  name: string
  model: string | null
}

export interface SeveralNodes {
  /** What the account has settled, the same on all of its devices. */
  settled: ComputedRef<AccountSettings>
  /** Settles which PC answers, '' for whichever is there. */
  settleMain(node: Id): Promise<void>
  /** Settles what is done with a question while that PC does not answer. */
  settlePolicy(policy: AsleepPolicy): Promise<void>
  /** The PC that a person has chosen to answer; null where whichever is there does. */
  main: ComputedRef<(NodeName & { isThere: boolean }) | null>
  /** Returns a PC that can answer now what a sleeping one was asked, if there is one. */
  elsewhere(asked: Id): NodeName | null
  /** Says whether a PC has a model; of one that does not tell, it is believed. */
  hasModel(node: Id, model: string): boolean
  /**
   * Returns whom the next question goes to, and who could answer instead where the person is to say. Rejects with
   * ProblemError `node_key_changed` where nobody is there but a PC that has taken another's place.
   */
  choose(): Promise<{ node: NodeName | null; instead: NodeName | null }>
}
