/** Bodies on the wire: MessagePack both ways; JSON with base64 only inside event streams (rule W1). */
import { decode, encode } from '@msgpack/msgpack'
import { fromBase64 } from './bytes'
import type { Change, Ended, LogNews, PulledChange, RunEvent } from './generated'

export const MESSAGE_PACK = 'application/msgpack'

export function encodeBody(body: object): Uint8Array {
  return encode(body, { ignoreUndefined: true })
}

/** Decodes a body; throws Error when it is no MessagePack. */
export function decodeBody(bytes: Uint8Array): unknown {
  return decode(bytes)
}

type JsonBytes<Members> = { [Key in keyof Members]: Members[Key] extends Uint8Array ? string : Members[Key] }

/** Decodes a `log` event. */
export function decodeLogNews(data: string): LogNews {
  const news = JSON.parse(data) as Omit<LogNews, 'changes'> & { changes?: JsonBytes<PulledChange>[] | null }
  return { ...news, changes: news.changes?.map((change) => changeFromJson<PulledChange>(change)) ?? null }
}

/** Decodes an event of a run. */
export function decodeRunEvent(data: string): RunEvent {
  const event = JSON.parse(data) as
    Exclude<RunEvent, Ended> | (Omit<Ended, 'changes'> & { changes: JsonBytes<Change>[] })
  return event.kind === 'ended'
    ? { ...event, changes: event.changes.map((change) => changeFromJson<Change>(change)) }
    : event
}

function changeFromJson<Kind extends Change | PulledChange>(json: JsonBytes<Kind>): Kind {
  return (json as unknown[]).map((member) => (typeof member === 'string' ? fromBase64(member) : member)) as Kind
}
