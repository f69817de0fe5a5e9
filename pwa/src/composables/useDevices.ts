import { computed, shallowRef, watch } from 'vue'
import { ProblemError } from '../protocol/errors'
import type { Device } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import type { DevicesView, DeviceView } from './types'

/** Where this account is logged in. Only the server knows, so it is asked whenever it can be reached. */
export function useDevices(): DevicesView {
  const { engine, session } = useDomovoi()
  const devices = shallowRef<Device[] | null>(null)
  const problem = shallowRef<string | null>(null)

  const server = () => {
    if (engine.value === null) throw new ProblemError('offline')
    return engine.value.server
  }
  const refresh = async () => {
    try {
      devices.value = await server().devices()
      problem.value = null
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      problem.value = error.code
    }
  }
  watch(
    () => [engine.value?.link.connection, engine.value?.link.devicesChanges, session.state.passwordChanges],
    () => void refresh(),
    { immediate: true },
  )
  return {
    devices: computed(
      () =>
        devices.value?.map(({ device_id: id, name, kind, last_seen_ms: seenAt, address, current }): DeviceView => ({
          ...{ id, name, isPc: kind === 'node', seenAt, address: address ?? null, isCurrent: current },
        })) ?? null,
    ),
    problem: computed(() => problem.value),
    async rename(device, name) {
      await server().renameDevice(device.id, name)
      await refresh()
    },
    async disconnect(device) {
      await server().revokeDevice(device.id)
      await refresh()
    },
  }
}
