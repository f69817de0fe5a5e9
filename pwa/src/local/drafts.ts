/** Unsent text of the composer, for each conversation; '' stands for the one that does not exist yet. */
import type { AccountDatabase } from './database'

export async function readDraft(db: AccountDatabase, conversation: string | null): Promise<string> {
  return (await db.draft.get(conversation ?? ''))?.text ?? ''
}

export async function saveDraft(db: AccountDatabase, conversation: string | null, text: string): Promise<void> {
  if (text === '') await db.draft.delete(conversation ?? '')
  else await db.draft.put({ conversation: conversation ?? '', text })
}
