/** Does what a person asked for, and says what became of it. */
import { failure, notice } from './toasts'
import { useWords } from './useWords'

/** Returns a function that does the deed; it says `done`, if that is given, or what went wrong. It never throws. */
export function useAttempt(): (deed: () => Promise<void>, done?: string) => Promise<void> {
  const { explain } = useWords()
  return async (deed, done) => {
    try {
      await deed()
      if (done !== undefined) notice(done)
    } catch (error) {
      failure(explain(error))
    }
  }
}
