/** What a person does, each as one transaction of changes. The network learns of it from the outbox. */
import { fromHex, toHex } from '../protocol/bytes'
import { ProblemError } from '../protocol/errors'
import { ConversationField, EntityType, limits, MessageField, type Request, type Sampling } from '../protocol/generated'
import { idFromHex, uuid7 } from '../protocol/identifiers'
import { Tree, type Message } from '../protocol/messages'
import { encodeText, encodeValue, isFinal, type Role } from '../protocol/values'
import { loadConversation } from './conversations'
import type { AccountDatabase } from './database'
import { scopeOf } from './entities'
import { write, type Draft } from './log'
import { firstTitle } from './summaries'

/** Undoes what was just done. */
export type Undo = () => Promise<void>

export interface MessageDraft {
  /** null begins a conversation. */
  conversation: string | null
  text: string
  /** The message this one follows; omitted: the end of the shown branch. */
  parent?: string | null
  /** The node that shall answer, in hex. */
  node: string | null
  model: string | null
  sampling?: Sampling
}

export interface Sent {
  conversation: string
  message: string
  answer: string
}

/** Writes a person's message with the request for its answer. Throws ProblemError for text that can't be sent. */
export async function send(db: AccountDatabase, draft: MessageDraft): Promise<Sent> {
  if (draft.text.trim() === '') throw new ProblemError('bad_request', 'The message is empty.')
  const body = encodeText(draft.text)
  return db.logTransaction(async () => {
    const sent = { conversation: draft.conversation ?? newId(db), message: newId(db), answer: newId(db) }
    const parent = draft.parent === undefined ? await shownLeaf(db, draft.conversation) : draft.parent
    const request = {
      node: draft.node === null ? null : fromHex(draft.node),
      model: draft.model,
      sampling: draft.sampling ?? {},
    }
    await write(db, [
      // A cell of its own, so that a new device can list the conversation before it has the messages.
      ...(draft.conversation === null ? [title(sent.conversation, firstTitle(draft.text))] : []),
      header(sent.conversation, sent.message, 'user', parent),
      newField(sent.conversation, sent.message, MessageField.BODY, body),
      header(sent.conversation, sent.answer, 'assistant', sent.message),
      newField(sent.conversation, sent.answer, MessageField.REQUEST, encodeValue(request)),
      activeLeaf(sent.conversation, sent.answer),
    ])
    return sent
  })
}

/** Asks for a sibling of an answer; one that still runs is stopped. */
export async function regenerate(db: AccountDatabase, answerId: string, node: string | null): Promise<Sent> {
  return db.logTransaction(async () => {
    const { message: answer, conversation } = await findMessage(db, answerId)
    const previous = answer.request
    const request: Request = {
      node: node === null ? (previous?.node ?? null) : fromHex(node),
      model: previous?.model ?? null,
      sampling: previous?.sampling ?? {},
    }
    const sibling = newId(db)
    await write(db, [
      ...(isFinal(answer.state) ? [] : [flag(answer, MessageField.STOP, true)]),
      header(conversation, sibling, 'assistant', answer.parent),
      newField(conversation, sibling, MessageField.REQUEST, encodeValue(request)),
      activeLeaf(conversation, sibling),
    ])
    return { conversation, message: answer.parent ?? sibling, answer: sibling }
  })
}

/** Writes a sibling of a person's message with another text, and its answer's request. */
export async function edit(db: AccountDatabase, id: string, text: string, node: string | null): Promise<Sent> {
  return db.logTransaction(async () => {
    const { message, conversation, tree } = await findMessage(db, id)
    const { model = null, sampling = {} } = tree.children(id).at(-1)?.request ?? {}
    return send(db, { conversation, text, parent: message.parent, node, model, sampling })
  })
}

/**
 * Takes a message back and returns its text. Its changes may already be on their way, and the log has no gaps,
 * so they stay where they are: what is written is that message and answer are deleted, and a stop (Q6).
 */
export async function withdraw(db: AccountDatabase, id: string): Promise<string> {
  return db.logTransaction(async () => {
    const { message } = await findMessage(db, id)
    await removeMessage(db, id)
    return message.body
  })
}

export async function stop(db: AccountDatabase, answerId: string): Promise<void> {
  await db.logTransaction(async () => {
    const { message } = await findMessage(db, answerId)
    if (!isFinal(message.state)) await write(db, [flag(message, MessageField.STOP, true)])
  })
}

export async function chooseBranch(db: AccountDatabase, id: string): Promise<void> {
  await db.logTransaction(async () => {
    const { conversation } = await findMessage(db, id)
    await write(db, [activeLeaf(conversation, id)])
  })
}

export async function rename(db: AccountDatabase, conversation: string, text: string): Promise<void> {
  await write(db, [title(conversation, text.trim())])
}

export async function pin(db: AccountDatabase, conversation: string, pinned: boolean): Promise<void> {
  await write(db, [conversationField(conversation, ConversationField.PINNED, encodeValue(pinned))])
}

/** Deletes a conversation and stops what runs in it. */
export async function removeConversation(db: AccountDatabase, conversation: string): Promise<Undo> {
  const deleted = (value: boolean) => conversationField(conversation, ConversationField.DELETED, encodeValue(value))
  await db.logTransaction(async () => {
    const { messages } = await loadConversation(db, conversation)
    await write(db, [deleted(true), ...stops([...messages.values()])])
  })
  return () => restoreConversation(db, conversation)
}

/** Takes a deleted conversation back. */
export async function restoreConversation(db: AccountDatabase, conversation: string): Promise<void> {
  await write(db, [conversationField(conversation, ConversationField.DELETED, encodeValue(false))])
}

/** Ends a conversation for ever, here and on every device (L18). */
export async function purgeConversation(db: AccountDatabase, conversation: string): Promise<void> {
  await write(db, [conversationField(conversation, ConversationField.PURGED, encodeValue(true))])
}

/** Deletes a message, which hides what is below it, and stops what runs there. */
export async function removeMessage(db: AccountDatabase, id: string): Promise<Undo> {
  const message = await db.logTransaction(async () => {
    const found = await findMessage(db, id)
    await write(db, [flag(found.message, MessageField.DELETED, true), ...stops(branchOf(found.tree, found.message))])
    return found.message
  })
  return () => write(db, [flag(message, MessageField.DELETED, false)])
}

async function findMessage(
  db: AccountDatabase,
  id: string,
): Promise<{ message: Message; conversation: string; tree: Tree }> {
  const conversation = await scopeOf(db, EntityType.MESSAGE, id)
  if (conversation === null) throw new ProblemError('not_found')
  const { messages } = await loadConversation(db, conversation)
  const message = messages.get(id)
  if (message === undefined) throw new ProblemError('not_found')
  return { message, conversation, tree: new Tree(messages) }
}

async function shownLeaf(db: AccountDatabase, id: string | null): Promise<string | null> {
  if (id === null) return null
  const { conversation, messages } = await loadConversation(db, id)
  return new Tree(messages).activePath(conversation.activeLeaf).at(-1)?.id ?? null
}

function branchOf(tree: Tree, root: Message): Message[] {
  const branch = [root]
  // The loop goes on over what it appends.
  for (const message of branch) branch.push(...tree.children(message.id))
  return branch
}

function stops(messages: readonly Message[]): Draft[] {
  return messages
    .filter((message) => message.request !== null && !message.stop && !isFinal(message.state))
    .map((message) => flag(message, MessageField.STOP, true))
}

function newId(db: AccountDatabase): string {
  return toHex(uuid7(db.environment.now(), db.environment.randomBytes(10)))
}

function header(scope: string, id: string, role: Role, parent: string | null): Draft {
  const value = { role, parent: parent === null ? null : idFromHex(parent, limits.ENTITY_ID_BYTES) }
  return newField(scope, id, MessageField.HEADER, encodeValue(value))
}

function flag(message: Message, field: number, value: boolean): Draft {
  return messageField(message.conversation, message.id, field, encodeValue(value))
}

function title(conversation: string, text: string): Draft {
  return conversationField(conversation, ConversationField.TITLE, encodeText(text))
}

function activeLeaf(scope: string, message: string): Draft {
  return conversationField(scope, ConversationField.ACTIVE_LEAF, encodeValue(idFromHex(message)))
}

function messageField(scope: string, eid: string, field: number, value: Uint8Array): Draft {
  return { etype: EntityType.MESSAGE, eid, field, scope, value }
}

/** A field of a message whose id was made in this transaction. */
function newField(scope: string, eid: string, field: number, value: Uint8Array): Draft {
  return { ...messageField(scope, eid, field, value), isNew: true }
}

function conversationField(id: string, field: number, value: Uint8Array): Draft {
  return { etype: EntityType.CONVERSATION, eid: id, field, scope: id, value }
}
