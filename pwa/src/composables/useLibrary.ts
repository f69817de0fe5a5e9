import { computed, onScopeDispose, shallowRef, watch, type Ref } from 'vue'
import { ProblemError } from '../protocol/errors'
import type { Library, NodeStatus, PullState } from '../protocol/generated'
import { useDomovoi } from '../stores/domovoi'
import type { NodeApi } from '../sync/nodeApi'
import { isRunning, sleep } from '../sync/wait'
import { viewModels } from './modelView'
import type { Id, LibraryView, ModelView } from './types'

/** How often a PC is asked how loading goes, ms. */
const LOADING_EVERY_MS = 400
const MOVING: ReadonlySet<string> = new Set(['waiting', 'loading'])

/** The models of one PC, asked of it whenever a way leads there, and followed while they load or come. */
export function useLibrary(node: Readonly<Ref<Id | null>>): LibraryView {
  const { engine } = useDomovoi()
  const library = shallowRef<Library | null>(null)
  const status = shallowRef<NodeStatus | null>(null)
  const pulls = shallowRef<ReadonlyMap<string, PullState>>(new Map())
  const problem = shallowRef<string | null>(null)
  let following = new AbortController()
  let isLoadingFollowed = false
  const followed = new Set<string>()

  const api = (): NodeApi => {
    if (engine.value === null || node.value === null) throw new ProblemError('node_unreachable')
    return engine.value.nodeApi(node.value)
  }
  const refresh = async () => {
    try {
      const asked = api()
      ;[library.value, status.value] = await Promise.all([asked.library(), asked.status()])
      pulls.value = new Map(library.value.pulls?.map((pull) => [pull.file, pull]))
      problem.value = null
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      problem.value = error.code
      return
    }
    void followLoading()
    for (const { file, state } of pulls.value.values()) if (state === 'running') void followPull(file)
  }
  /** Asks again and again while something is on its way into memory; the end is asked for as a whole. */
  const followLoading = async () => {
    const isMoving = () => status.value?.loaded?.some(({ state }) => MOVING.has(state)) ?? false
    const { signal } = following
    if (isLoadingFollowed || !isMoving()) return
    isLoadingFollowed = true
    try {
      while (isRunning(signal) && isMoving()) {
        await sleep(LOADING_EVERY_MS, signal)
        if (isRunning(signal)) status.value = await api().status()
      }
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      problem.value = error.code
    } finally {
      isLoadingFollowed = false
    }
  }
  const followPull = async (file: string) => {
    const { signal } = following
    if (followed.has(file)) return
    followed.add(file)
    try {
      for await (const pull of api().pulling(file, signal)) pulls.value = new Map(pulls.value).set(file, pull)
    } catch (error) {
      if (isRunning(signal) && !(error instanceof ProblemError)) throw error
    } finally {
      followed.delete(file)
    }
    if (isRunning(signal)) await refresh()
  }
  watch(
    // A way that opens, or another PC.
    () =>
      [node.value, node.value === null ? null : engine.value?.router.state.best.get(node.value)?.route.base] as const,
    ([id, base], previous) => {
      if (id !== previous?.[0]) {
        following.abort()
        following = new AbortController()
        library.value = status.value = null
        pulls.value = new Map()
      }
      if (id !== null && base !== undefined) void refresh()
      else problem.value = 'node_unreachable'
    },
    { immediate: true },
  )
  onScopeDispose(() => {
    following.abort()
  })
  const change = async (deed: (api: NodeApi) => Promise<unknown>) => {
    await deed(api())
    await refresh()
  }
  return {
    models: computed(() =>
      library.value === null ? null : viewModels(library.value, status.value?.loaded ?? [], [...pulls.value.values()]),
    ),
    offers: computed(() => {
      const begun = new Set(
        [...pulls.value.values()].filter(({ state }) => state === 'running').map(({ file }) => file),
      )
      return library.value?.catalogue.filter(({ file }) => !begun.has(file)) ?? []
    }),
    diskFree: computed(() => library.value?.disk_free ?? 0),
    proposal: computed(() => library.value?.proposal ?? ''),
    steps: computed(() => status.value?.steps ?? []),
    problem: computed(() => problem.value),
    pull: (offer, acceptLicence) => change((asked) => asked.pull(offer.id, acceptLicence)),
    stopPull: (file) => change((asked) => asked.stopPull(file)),
    use: (model: ModelView) => change((asked) => asked.use(model.file)),
    remove: (model) => change((asked) => asked.remove(model.file)),
    load: (model) => change((asked) => asked.load(model.file)),
    unload: (model) => change((asked) => asked.unload(model.file)),
    refresh,
  }
}
