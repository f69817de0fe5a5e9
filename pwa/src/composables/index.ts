/** What components may import: the composables and their types, nothing below. */
export type * from './types'
export { useActions } from './useActions'
export { useConversations } from './useConversations'
export { useDraft } from './useDraft'
export { useNow } from './now'
export { useSession } from './useSession'
export { useStatus } from './useStatus'
export { useThread } from './useThread'
