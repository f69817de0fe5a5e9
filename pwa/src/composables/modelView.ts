/** A model of a PC, put together from its file, what is in memory, and what is being fetched. Pure. */
import type { Library, LibraryModel, ModelStatus, PullState } from '../protocol/generated'
import type { ModelState, ModelView } from './types'

const IN_MEMORY: ReadonlySet<string> = new Set(['waiting', 'loading', 'ready', 'stalled', 'failed'])
const ON_DISK: ReadonlySet<string> = new Set(['partial', 'arriving', 'damaged'])

/** Returns the models: those on the disk, and those whose first byte is still to come. */
export function viewModels(library: Library, loaded: readonly ModelStatus[], pulls: readonly PullState[]): ModelView[] {
  const running = new Map(pulls.filter(({ state }) => state !== 'done').map((pull) => [pull.file, pull]))
  const offers = new Map(library.catalogue.map((offer) => [offer.file, offer]))
  const here = new Set(library.models.map(({ file }) => file))
  const coming = [...running.values()].filter(({ file }) => !here.has(file) && offers.has(file))
  const files = [
    ...library.models,
    ...coming.map((pull): LibraryModel => {
      const { name = pull.file, size = pull.total, quantisation = '' } = offers.get(pull.file) ?? {}
      return { file: pull.file, name, size, quantisation, state: 'partial', done_bytes: pull.done }
    }),
  ]
  return files.map((file) => {
    const status = loaded.find(({ name }) => name === file.name)
    return { ...viewFile(file, status, running.get(file.file)), offer: offers.get(file.file) ?? null }
  })
}

function viewFile(file: LibraryModel, status?: ModelStatus, pull?: PullState): Omit<ModelView, 'offer'> {
  const isPulling = pull?.state === 'running'
  const isLoading = status?.state === 'loading'
  return {
    file: file.file,
    name: file.name,
    state: stateOf(file, status, isPulling),
    isDefault: file.is_default ?? false,
    size: file.size,
    done: isPulling ? pull.done : isLoading ? (status.done ?? 0) : (file.done_bytes ?? 0),
    total: isPulling ? pull.total : isLoading ? (status.total ?? 0) : file.size,
    quantisation: file.quantisation ?? '',
    context: file.context ?? 0,
    loadedContext: status?.context ?? 0,
    licence: file.licence ?? null,
    fits: file.fits ?? '',
    fittingContext: file.fitting_context ?? 0,
    engine: status?.engine ?? null,
    tokensPerSecond: status?.tokens_per_second ?? null,
    code: status?.code ?? pull?.code ?? null,
    detail: file.detail ?? '',
  }
}

function stateOf(file: LibraryModel, status: ModelStatus | undefined, isPulling: boolean): ModelState {
  if (isPulling) return 'pulling'
  if (ON_DISK.has(file.state)) return file.state as ModelState
  return status !== undefined && IN_MEMORY.has(status.state) ? (status.state as ModelState) : 'idle'
}
