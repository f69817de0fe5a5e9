/** Unsent text of the composer, for each conversation; '' stands for the one that does not exist yet. */
import { tellFull, type AccountDatabase } from './database'

export async function readDraft(db: AccountDatabase, conversation: string | null): Promise<string> {
  return (await db.draft.get(conversation ?? ''))?.text ?? ''
}

/** Throws ProblemError `device_full`. */
export async function saveDraft(db: AccountDatabase, conversation: string | null, text: string): Promise<void> {
  const place = conversation ?? ''
  if (text === '') await db.draft.delete(place)
  else await db.draft.put({ conversation: place, text }).catch(tellFull)
}
