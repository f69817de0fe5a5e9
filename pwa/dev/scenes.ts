/** States of the world to draw, by name. */
import type { Status } from '../src/composables/types'

export interface Scene {
  isKnown: boolean
  isEmpty: boolean
  status: Status
  /** The code with which forms are refused. */
  refusal: string
}

const MINUTE = 60_000
const now = Date.now()
const steps = [
  {
    ...{ at_ms: now - 118 * MINUTE, model: 'Qwen3-8B', engine: 'llama.cpp', what: 'context', to: '8192' },
    ...{ code: 'out_of_memory', detail: '9.4 GB wanted, 4.1 GB are free.' },
  },
]
const home: Status = {
  kind: 'direct',
  latencyMs: 4,
  serverMs: 18,
  nodeMs: 4,
  nodeId: 'f0'.repeat(16),
  nodeName: 'Study PC',
  nodeAwake: true,
  nodeSince: now - 360 * MINUTE,
  nodeDeparture: 'unknown',
  isCompatible: false,
  ways: [
    { kind: 'lan', address: '192.168.1.34:8461', outcome: 'open', ms: 4, isInUse: true },
    { kind: 'relay', address: '', outcome: 'open', ms: 61, isInUse: false },
    { kind: 'vpn', address: '100.101.7.19:8461', outcome: 'silent', ms: 1500, isInUse: false },
  ],
  model: 'Qwen3-8B',
  engine: 'llama.cpp',
  models: ['Qwen3-8B', 'Gemma 3 4B', 'SmolLM2 135M Instruct'],
  loaded: [{ name: 'Qwen3-8B', state: 'ready', quantisation: 'Q4_K_M', context: 16_384, slots: 4 }],
  steps,
  queued: 0,
  unsynced: 0,
  inStepAt: now - 4_000,
  nextTryAt: null,
  problem: null,
}
const plain: Scene = { isKnown: true, isEmpty: false, status: home, refusal: 'password_too_common' }
const scenes: Record<string, Scene> = {
  home: plain,
  relay: {
    ...plain,
    status: { ...home, kind: 'relay', latencyMs: 61, serverMs: 34, nodeMs: 27, queued: 1, unsynced: 4 },
  },
  offline: {
    ...plain,
    status: {
      ...home,
      ...{ kind: 'offline', latencyMs: null, serverMs: null, nodeMs: null, nodeAwake: false, queued: 2, unsynced: 6 },
      ...{ inStepAt: now - 15 * MINUTE, nextTryAt: now + 12_000 },
    },
  },
  asleep: {
    ...plain,
    status: {
      ...home,
      kind: 'asleep',
      nodeAwake: false,
      latencyMs: null,
      nodeSince: now - 96 * MINUTE,
      nodeDeparture: 'silent',
    },
  },
  server_down: { ...plain, status: { ...home, kind: 'server_down', serverMs: null, unsynced: 3 } },
  no_node: {
    ...plain,
    isEmpty: true,
    status: { ...home, kind: 'no_node', nodeId: null, nodeName: null, nodeAwake: false, model: null, engine: null },
  },
  ended: { ...plain, status: { ...home, problem: 'login_ended' } },
  stranger: { ...plain, isKnown: false },
}

export { steps }

export const scene: Scene = scenes[new URLSearchParams(location.search).get('scene') ?? 'home'] ?? plain
