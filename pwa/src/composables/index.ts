/** All that components may import from below. */
export * from './types'
export { useActions } from './useActions'
export { useConversations } from './useConversations'
export { useDraft } from './useDraft'
export { useNow } from './now'
export { useSession } from './useSession'
export { useStatus } from './useStatus'
export { useThread } from './useThread'
