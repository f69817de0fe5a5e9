/**
 * A phone for the chaos runs: all of the app but its components, over real sockets. It is told what to do by lines of
 * JSON on its input, and says what happens to it by lines on its output.
 */
import 'fake-indexeddb/auto'
import Dexie from 'dexie'
import { IDBFactory } from 'fake-indexeddb'
import { createInterface } from 'node:readline'
import { watch } from 'vue'
import * as actions from '../../src/local/actions'
import { browserEnvironment } from '../../src/local/database'
import { readThread, readUnacknowledged } from '../../src/local/reads'
import { isFinal } from '../../src/protocol/values'
import { createDomovoi, type Domovoi } from '../../src/stores/domovoi'
import type { Engine } from '../../src/sync/engine'
import { MemoryStorage } from '../local/memoryStorage'
import { makeFetch } from './network'
interface Setting {
  /** Where the server has the page from. */
  origin: string
  places: Record<string, number>
}
type Command =
  | { do: 'register'; setupCode: string }
  | { do: 'ask'; text: string }
  | { do: 'stop'; answer: string }
  | { do: 'reload' | 'wake' | 'networkChanged' | 'routes' }
  | { do: 'look'; answer: string; conversation: string }
/** How far the live text of an answer was when it was looked at last. */
interface Seen {
  lastEvent: number
  text: string
}
class Phone {
  private domovoi: Domovoi
  private readonly storage = new MemoryStorage()
  private readonly environment = { ...browserEnvironment, indexedDB: new IDBFactory() }
  private readonly seen = new Map<string, Seen>()
  private close: () => void = () => undefined
  /** The conversation on the screen. */
  private shown = ''
  private hide: () => void = () => undefined
  constructor(
    private readonly origin: string,
    private readonly fetcher: typeof fetch,
    private readonly open: ReadonlyMap<symbol, string>,
  ) {
    this.domovoi = this.load()
  }
  async perform(command: Command): Promise<unknown> {
    switch (command.do) {
      case 'register':
        await this.domovoi.session.register({
          username: 'anna',
          password: 'three plain words',
          device_name: 'Phone',
          setup_code: command.setupCode,
        })
        await this.domovoi.opened()
        this.watch()
        return
      case 'ask':
        return this.ask(command.text)
      case 'stop':
        return actions.stop(this.engine.db, command.answer)
      case 'reload':
        this.close()
        this.domovoi.close()
        this.seen.clear()
        this.domovoi = this.load()
        await this.domovoi.opened()
        this.watch()
        this.show(this.shown)
        return
      case 'wake':
        this.engine.tryNow()
        return
      case 'networkChanged':
        this.engine.networkChanged()
        return
      case 'routes':
        return [...this.engine.router.state.best.values()].map(({ route }) => route.kind)
      case 'look':
        return this.look(command.answer, command.conversation)
    }
  }
  private get engine(): Engine {
    if (this.domovoi.engine.value === null) throw new Error('no account is open')
    return this.domovoi.engine.value
  }
  private load(): Domovoi {
    return createDomovoi({
      fetcher: this.fetcher,
      origin: this.origin,
      // From elsewhere, so that the node's `localhost` is another machine's.
      page: { protocol: 'http:', host: 'home.example' },
      permissions: undefined,
      storage: this.storage,
      locks: undefined,
      environment: this.environment,
      isVisible: () => true,
      persist: () => Promise.resolve(true),
    })
  }
  private async ask(text: string): Promise<actions.Sent> {
    const { db } = this.engine
    const nodes = (await db.getMeta('nodes')) ?? []
    const node = nodes[0]?.node_id
    if (node === undefined) throw new Error('no node is known')
    const sent = await actions.send(db, { conversation: null, text, node, model: null })
    this.hide()
    this.show(sent.conversation)
    return sent
  }
  private show(conversation: string): void {
    this.shown = conversation
    this.hide = this.engine.show(conversation)
  }
  /** Says how live texts grow. Whatever comes comes once, in order, and changes nothing that was there (S2, S3). */
  private watch(): void {
    const { answers } = this.engine
    this.close = watch(
      () => [...answers.live.values()].map((live) => [live, live.lastEvent, live.text] as const),
      (all) => {
        for (const [{ id, route }, lastEvent, text] of all) this.note(id, route, { lastEvent, text })
      },
      { flush: 'sync' },
    )
  }
  private note(id: string, route: string, now: Seen): void {
    const before = this.seen.get(id) ?? { lastEvent: 0, text: '' }
    if (before.lastEvent === now.lastEvent && before.text === now.text) return
    this.seen.set(id, now)
    const isNext = now.lastEvent === before.lastEvent || now.lastEvent === before.lastEvent + 1
    if (!isNext) say({ trouble: `after event ${before.lastEvent} came event ${now.lastEvent}` })
    if (!now.text.startsWith(before.text)) say({ trouble: `the text of ${id} was taken back` })
    say({ seen: id, event: now.lastEvent, characters: now.text.length, route })
  }
  /** Returns what a person sees of an answer, and whether the log has all that was written here. */
  private async look(answer: string, conversation: string) {
    const { db, answers, link, router } = this.engine
    const thread = await readThread(db, conversation)
    const message = thread.messages.get(answer)
    const live = answers.live.get(answer)
    return {
      state: message?.state?.state ?? null,
      code: message?.state?.code ?? null,
      isFinal: isFinal(message?.state ?? null),
      body: message?.body ?? '',
      live: live?.text ?? null,
      hasEnded: (live?.ended ?? null) !== null,
      unacknowledged: (await readUnacknowledged(db)).changes,
      link: link.connection,
      problem: link.problem,
      routes: [...router.state.best.values()].map(({ route }) => route.kind),
      attempts: [...router.state.attempts.values()].flat().map(({ route, outcome }) => `${route.kind} ${outcome}`),
      open: [...this.open.values()],
    }
  }
}
function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
export async function run({ origin, places }: Setting): Promise<void> {
  console.error = (...words: unknown[]) => {
    // A page that is loaded anew is gone at once; here its code lives on for a moment, over a closed database.
    if (words.some((word) => word instanceof Dexie.DatabaseClosedError)) return
    say({
      trouble: words.map((word) => (word instanceof Error ? (word.stack ?? word.message) : String(word))).join(' '),
    })
  }
  process.on('unhandledRejection', (reason) => {
    console.error('unhandled', reason)
  })
  const open = new Map<symbol, string>()
  const phone = new Phone(origin, await makeFetch(origin, places, open), open)
  say({ ready: true })
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line) as Command
    try {
      say({ done: command.do, result: (await phone.perform(command)) ?? null })
    } catch (error) {
      say({ failed: command.do, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    }
  }
  process.exit(0)
}
