/** The PC of the drawings: models in every state, and keys. */
import { computed, ref } from 'vue'
import type {
  ApiKey,
  CatalogueOffer,
  KeysView,
  LibraryView,
  ModelView,
  NodeView,
  PairingStage,
  PairingView,
} from '../src/composables/types'
import { scene, steps } from './scenes'

const GB = 1e9
const { status } = scene
const node: NodeView = {
  ...{ id: 'f0'.repeat(16), name: 'Study PC', awake: true, since: Date.now() - 360 * 60_000, route: 'direct' },
  departure: 'unknown' as const,
  ...{ latencyMs: 4, version: '0.4.1', engine: 'cuda', model: 'Qwen3-8B', generating: 1, queue: 0 },
  ...{ tokensPerSecond: 61, steps, isManaged: true, isStrange: false, isOnLocalNetwork: true },
}
const asleep: NodeView = {
  ...{ ...node, id: 'e0'.repeat(16), name: 'Mitya’s laptop', awake: false, route: null, latencyMs: null },
  ...{ since: Date.now() - 96 * 60_000, engine: null, steps: [] },
}

export function useNodes() {
  return computed(() => (status.nodeId === null ? [] : [node, asleep]))
}

function model(name: string, size: number, more: Partial<ModelView> = {}): ModelView {
  return {
    ...{ file: `${name}.gguf`, name, state: 'idle', isDefault: false, size, done: size, total: size },
    ...{ quantisation: 'Q4_K_M', context: 32_768, loadedContext: 0, licence: 'apache-2.0', fits: 'fits' },
    ...{ fittingContext: 32_768, engine: null, tokensPerSecond: null, code: null, detail: '', offer: null },
    ...more,
  }
}

const offer: CatalogueOffer = {
  ...{ id: 'gemma3-270m-base', name: 'Gemma 3 270M (base)', file: 'gemma.gguf', size: 253e6, download_bytes: 241e6 },
  ...{ parameters: 268e6, quantisation: 'Q4_K_M', context: 32_768, is_chat: false, licence: 'Gemma Terms of Use' },
  ...{ licence_url: 'https://ai.google.dev/gemma/terms', must_accept: true, for_whom: 'For trying things out.' },
}
const models = [
  model('Qwen3-8B', 5 * GB, {
    state: 'ready',
    isDefault: true,
    engine: 'cuda',
    loadedContext: 16_384,
    tokensPerSecond: 61,
  }),
  model('Qwen2.5-Coder-7B', 4.7 * GB, { state: 'pulling', done: 3 * GB }),
  model('Gemma 3 4B', 2.5 * GB, { state: 'loading', done: 0.6 * GB, licence: 'gemma' }),
  model('Phi-4', 9.1 * GB, { fits: 'too_large', licence: 'mit' }),
  model('Mistral-Nemo-Instruct-2407', 7.5 * GB, { state: 'damaged', offer }),
  model('SmolLM2 135M Instruct', 98e6, { quantisation: 'Q4_1', context: 8_192 }),
]
const nothing = () => Promise.resolve()

export function useLibrary(): LibraryView {
  return {
    models: computed(() => models),
    offers: computed(() => [offer]),
    diskFree: computed(() => 212 * GB),
    proposal: computed(() => ''),
    steps: computed(() => []),
    problem: computed(() => null),
    ...{ pull: nothing, stopPull: nothing, use: nothing, remove: nothing, load: nothing, unload: nothing },
    refresh: nothing,
  }
}

const key: ApiKey = {
  key_id: '1',
  name: 'Editor on Study PC',
  prefix: 'dk-4fQ',
  created_ms: 0,
  last_used_ms: Date.now(),
}
const keys = ref([key])

export function useKeys(): KeysView {
  return {
    keys: computed(() => keys.value),
    problem: computed(() => null),
    address: computed(() => 'http://localhost:8461/v1'),
    make: (name) => Promise.resolve({ key: { ...key, name }, secret: 'dk-4fQ9TkVw2bXh7sLm3cRe8nJd5gAyUo1z' }),
    revoke: nothing,
  }
}

/** Any password makes a code, and a PC comes with it three seconds later. */
export function usePairing(): PairingView {
  const stage = ref<PairingStage>('password')
  const go = (next: PairingStage) => {
    stage.value = next
    return Promise.resolve()
  }
  return {
    stage: computed(() => stage.value),
    code: computed(() => '7KQ2-M9XD-4HTB-W3Z8'),
    address: computed(() => 'https://home.example.org'),
    expiresAt: computed(() => Date.now() + 581_000),
    pc: computed(() => ({ name: 'Study PC', check: '418 093', isManaged: true })),
    begin() {
      setTimeout(() => void go('comparing'), 3_000)
      return go('waiting')
    },
    confirm: () => go('paired'),
    refuse: () => go('over'),
    again: () => void go('password'),
  }
}
