import { computed, onScopeDispose, ref, shallowRef } from 'vue'
import { hasCode, ProblemError } from '../protocol/errors'
import type { Pairing, PairingCode } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import { isRunning, sleep } from '../sync/wait'
import type { PairingStage, PairingView } from './types'

/** A person waits at the PC, so the server is asked often. */
const ASK_EVERY_MS = 1_000
const STAGES = { waiting: 'waiting', pending: 'comparing', paired: 'paired', refused: 'over' } as const

/** Pairs a PC with this account. Whoever leaves before the end takes the code back. */
export function usePairing(): PairingView {
  const { engine } = useDomovoi()
  const stage = ref<PairingStage>('password')
  const begun = shallowRef<PairingCode | null>(null)
  const latest = shallowRef<Pairing | null>(null)
  const expiresAt = ref(0)
  const leaving = new AbortController()

  const server = () => {
    if (engine.value === null) throw new ProblemError('offline')
    return engine.value.server
  }
  const show = (pairing: Pairing) => {
    latest.value = pairing
    // By this device's clock, whatever the server's says.
    expiresAt.value = Date.now() + pairing.expires_ms - pairing.server_ms
    stage.value = STAGES[pairing.stage]
  }
  const isOpen = () => stage.value === 'waiting' || stage.value === 'comparing'

  async function follow(code: PairingCode): Promise<void> {
    const goesOn = () => isRunning(leaving.signal) && isOpen() && begun.value === code
    while (goesOn()) {
      await sleep(ASK_EVERY_MS, leaving.signal)
      if (!goesOn()) return
      try {
        const pairing = await server().pairing(code.pairing_id)
        if (goesOn()) show(pairing)
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error
        if (hasCode(error, 'not_found') && goesOn()) stage.value = 'over'
      }
      if (goesOn() && Date.now() >= expiresAt.value) stage.value = 'over'
    }
  }
  async function withdraw(): Promise<void> {
    if (begun.value === null || !isOpen()) return
    stage.value = 'over'
    await server().withdrawPairing(begun.value.pairing_id)
  }
  onScopeDispose(() => {
    leaving.abort()
    // Without the server the code runs out by itself.
    withdraw().catch(() => undefined)
  })
  return {
    stage: computed(() => stage.value),
    code: computed(() => begun.value?.code ?? ''),
    address: computed(() => engine.value?.server.origin || location.origin),
    expiresAt: computed(() => expiresAt.value),
    pc: computed(() => {
      const { name, check, level } = latest.value ?? {}
      return name == null || check == null ? null : { name, check, isManaged: level === 'manage' }
    }),
    async begin(password) {
      const code = await server().beginPairing(password)
      begun.value = code
      latest.value = null
      expiresAt.value = Date.now() + code.expires_ms - code.server_ms
      stage.value = 'waiting'
      void follow(code)
    },
    async confirm() {
      const check = latest.value?.check
      if (begun.value === null || check == null) return
      show(await server().confirmPairing(begun.value.pairing_id, check))
    },
    refuse: withdraw,
    again() {
      stage.value = 'password'
    },
  }
}
