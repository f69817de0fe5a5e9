/** The state of the way home, in words. */
import { computed, type ComputedRef } from 'vue'
import { useSession, useStatus, type Status } from '@/composables'
import { useWords } from '@/interface/useWords'

export interface StatusWords {
  status: ComputedRef<Status>
  /** Direct · 4 ms; The login has ended */
  line: ComputedRef<string>
  /** Relay · 61 ms · 1 queued; Offline, 2 queued */
  full: ComputedRef<string>
  /** In step, just now */
  step: ComputedRef<string>
  /** What that means, and what becomes of what is written. */
  say: ComputedRef<string>
  nodeName: ComputedRef<string>
}

const JUST_NOW_MS = 60_000

export function useStatusWords(now: () => number = Date.now): StatusWords {
  const { t, count, format } = useWords()
  const status = useStatus()
  const { ended } = useSession()
  const line = computed(() => {
    const { kind, latencyMs, nodeSince, nodeDeparture, isCompatible } = status.value
    // Nothing goes on until somebody logs in, whichever way is open.
    if (ended.value) return t('status.ended')
    if (kind === 'asleep' && nodeSince !== null) {
      return t(`away.line.${nodeDeparture}`, { time: format.value.stamp(nodeSince, now()) })
    }
    if (kind !== 'direct' && kind !== 'relay') return t(`status.${kind}`)
    const way = isCompatible ? 'compatible' : kind
    return latencyMs === null ? t(`status.${way}`) : t(`status.${way}Ms`, { ms: format.value.number(latencyMs) })
  })
  const full = computed(() => {
    const { queued, kind } = status.value
    if (queued === 0) return line.value
    return count(kind === 'offline' ? 'status.withQueued' : 'status.andQueued', queued, { line: line.value })
  })
  const step = computed(() => {
    const { inStepAt, kind } = status.value
    if (inStepAt === null) return t('status.never')
    const isNow = now() - inStepAt < JUST_NOW_MS && kind !== 'offline' && kind !== 'server_down'
    return isNow ? t('status.justNow') : format.value.moment(inStepAt, now())
  })
  const nodeName = computed(() => status.value.nodeName ?? t('status.noNodeName'))
  const say = computed(() => {
    const { kind, nodeDeparture } = status.value
    const key = kind === 'asleep' ? `away.say.${nodeDeparture}` : `status.say.${kind}`
    return t(key, { node: nodeName.value })
  })
  return { status, line, full, step, say, nodeName }
}
