import { computed, watch } from 'vue'
import { useDomovoi } from '../stores/domovoi'
import { useServerAnswer } from './serverAnswer'
import type { DevicesView, DeviceView } from './types'

/** Where this account is logged in. Only the server knows, so it is asked whenever it can be reached. */
export function useDevices(): DevicesView {
  const { engine, session } = useDomovoi()
  const { answer, problem, server, refresh } = useServerAnswer((server) => server.devices())
  watch(
    () => [engine.value?.link.connection, engine.value?.link.devicesChanges, session.state.passwordChanges],
    () => void refresh(),
    { immediate: true },
  )
  return {
    devices: computed(
      () =>
        answer.value?.map(({ device_id: id, name, kind, last_seen_ms: seenAt, address, current }): DeviceView => ({
          ...{ id, name, isPc: kind === 'node', seenAt, address: address ?? null, isCurrent: current },
        })) ?? null,
    ),
    problem,
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
