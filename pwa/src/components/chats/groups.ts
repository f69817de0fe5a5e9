/** The list of chats as people look for them: pinned ones, then by how long ago. */
import type { ConversationSummary } from '@/composables'
import { daysBetween } from '@/i18n/format'

export type GroupName = 'pinned' | 'today' | 'yesterday' | 'lastWeek' | 'older'

export interface ChatGroup {
  name: GroupName
  chats: ConversationSummary[]
}

const NAMES: readonly GroupName[] = ['pinned', 'today', 'yesterday', 'lastWeek', 'older']

/** `now` is in ms since 1970. Groups without chats are left out; the order inside each stays. */
export function groupChats(chats: readonly ConversationSummary[], now: number): ChatGroup[] {
  const all = NAMES.map((name) => ({ name, chats: chats.filter((chat) => groupOf(chat, now) === name) }))
  return all.filter((group) => group.chats.length > 0)
}

function groupOf({ pinned, updatedAt }: ConversationSummary, now: number): GroupName {
  if (pinned) return 'pinned'
  const days = daysBetween(updatedAt, now)
  if (days <= 0) return 'today'
  if (days === 1) return 'yesterday'
  return days < 8 ? 'lastWeek' : 'older'
}

/** Chats with every word of the query in title or snippet. */
export function findChats(chats: readonly ConversationSummary[], query: string): ConversationSummary[] {
  const words = query.toLocaleLowerCase().split(/\s+/).filter(Boolean)
  return chats.filter(({ title, snippet }) => {
    const text = `${title}\n${snippet}`.toLocaleLowerCase()
    return words.every((word) => text.includes(word))
  })
}

export interface TextPart {
  text: string
  isHit: boolean
}

/** Cuts a text where the words of the query stand in it. */
export function markHits(text: string, query: string): TextPart[] {
  const words = query.trim().split(/\s+/).filter(Boolean).map(escapePattern)
  if (words.length === 0) return [{ text, isHit: false }]
  // With one group in the pattern, every second part is a hit.
  const parts = text.split(new RegExp(`(${words.join('|')})`, 'giu'))
  return parts.map((part, index) => ({ text: part, isHit: index % 2 === 1 })).filter((part) => part.text !== '')
}

function escapePattern(word: string): string {
  return word.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
