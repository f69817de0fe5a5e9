/** The message tree of a conversation, folded from its cells (rules M1-M6). Ids are lower-case hex. */
import { compareBytes, toHex } from './bytes'
import type { StoredChange } from './change'
import { EntityType, MessageField, type Header, type Request, type State } from './generated'
import { isContinuable, readFlag, readHeader, readRequest, readState, readText } from './values'

/** One message. `created` is the clock of its header, which also orders siblings. */
export interface Message {
  id: string
  conversation: string
  created: Uint8Array
  role: Header['role']
  parent: string | null
  body: string
  request: Request | null
  state: State | null
  stop: boolean
  deleted: boolean
}

export type Messages = ReadonlyMap<string, Message>

/** Cells of one entity by field. */
export type Fields = Readonly<Record<number, StoredChange | undefined>>

/** Returns the messages whose header is known, by id; other entities are passed over (M1). */
export function fold(cells: Iterable<StoredChange>): Map<string, Message> {
  const fieldsById = new Map<string, Record<number, StoredChange>>()
  for (const cell of cells) {
    if (cell[1] !== EntityType.MESSAGE) continue
    const id = toHex(cell[2])
    const fields = fieldsById.get(id) ?? {}
    fields[cell[3]] = cell
    fieldsById.set(id, fields)
  }
  const messages = new Map<string, Message>()
  for (const [id, fields] of fieldsById) {
    const message = foldMessage(id, fields)
    if (message !== null) messages.set(id, message)
  }
  return messages
}

/** Returns one message, or null while its header is missing or can't be read. */
export function foldMessage(id: string, fields: Fields): Message | null {
  const [created, , , , scope] = fields[MessageField.HEADER] ?? []
  if (created === undefined || scope === undefined) return null
  const value = (field: number) => fields[field]?.[6]
  const body = value(MessageField.BODY)
  return messageOf(id, toHex(scope), created, value, body === undefined ? null : readText(body))
}

/** Returns a message whose header has the clock `created`, or null where it can't be read. */
export function messageOf(
  id: string,
  conversation: string,
  created: Uint8Array,
  value: (field: number) => Uint8Array | undefined,
  body: string | null,
): Message | null {
  const read = <Value>(field: number, reader: (data: Uint8Array) => Value | null): Value | null => {
    const data = value(field)
    return data === undefined ? null : reader(data)
  }
  const header = read(MessageField.HEADER, readHeader)
  if (header === null) return null
  return {
    id,
    conversation,
    created,
    role: header.role,
    parent: header.parent ? toHex(header.parent) : null,
    body: body ?? '',
    request: read(MessageField.REQUEST, readRequest),
    state: read(MessageField.STATE, readState),
    stop: read(MessageField.STOP, readFlag) ?? false,
    deleted: read(MessageField.DELETED, readFlag) ?? false,
  }
}

/** Returns root to leaf, or null while an ancestor has not arrived (M2) or the parents form a ring. */
export function pathTo(messages: Messages, leaf: string | null): Message[] | null {
  const path: Message[] = []
  const seen = new Set<string>()
  while (leaf !== null) {
    const message = messages.get(leaf)
    if (message === undefined || seen.has(leaf)) return null
    seen.add(leaf)
    path.push(message)
    leaf = message.parent
  }
  return path.reverse()
}

/** The live children of every parent in order of creation (M3); null holds the roots. */
export class Tree {
  private readonly childrenByParent = new Map<string | null, Message[]>()

  constructor(readonly messages: Messages) {
    for (const message of messages.values()) {
      if (message.deleted) continue
      const siblings = this.childrenByParent.get(message.parent)
      if (siblings === undefined) this.childrenByParent.set(message.parent, [message])
      else siblings.push(message)
    }
    for (const siblings of this.childrenByParent.values()) siblings.sort(byCreation)
  }

  children(parent: string | null): readonly Message[] {
    return this.childrenByParent.get(parent) ?? []
  }

  /** Returns the leaf reached from `start` by always taking the newest live child (M4). */
  newestLeaf(start: string | null): string | null {
    let leaf = start
    for (let below = this.children(leaf).at(-1); below !== undefined; below = this.children(leaf).at(-1))
      leaf = below.id
    return leaf
  }

  /**
   * Returns the branch to show: through `activeLeaf` and on to the newest leaf below it (M5). A leaf that is
   * missing, deleted or cut off from its root is ignored: the newest branch is shown.
   */
  activePath(activeLeaf: string | null): Message[] {
    const path = activeLeaf === null ? null : pathTo(this.messages, activeLeaf)
    const isShown = path?.every((message) => !message.deleted) ?? false
    return pathTo(this.messages, this.newestLeaf(isShown ? activeLeaf : null)) ?? []
  }
}

function byCreation(left: Message, right: Message): number {
  return compareBytes(left.created, right.created) || (left.id < right.id ? -1 : 1)
}

/** Returns the answer that `message` waits for: the last one before it on its path (Q3). */
export function answerBefore(messages: Messages, message: Message): Message | null {
  const path = pathTo(messages, message.parent) ?? []
  return path.findLast((before) => before.role === 'assistant') ?? null
}

/** Says whether a queued answer may start: the answer before it is done or stopped (Q3). */
export function isRunnable(messages: Messages, answer: Message): boolean {
  const path = pathTo(messages, answer.parent)
  if (path === null || path.some((message) => message.deleted)) return false
  const before = path.findLast((message) => message.role === 'assistant')
  return before === undefined || isContinuable(before.state)
}
