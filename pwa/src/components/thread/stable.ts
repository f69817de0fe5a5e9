/**
 * Keeps what did not change the same object. Each word of a growing answer makes all messages of a thread anew;
 * components redraw for other objects, and only one of fifty has other content.
 */
import type { ThreadMessage } from '@/composables'

export function createStable(): (messages: readonly ThreadMessage[]) => ThreadMessage[] {
  let kept = new Map<string, ThreadMessage>()
  return (messages) => {
    const stable = messages.map((message) => {
      const before = kept.get(message.id)
      return before !== undefined && isSame(before, message) ? before : message
    })
    kept = new Map(stable.map((message) => [message.id, message]))
    return stable
  }
}

function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  const keys = Object.keys(one)
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => isSame((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]))
  )
}
