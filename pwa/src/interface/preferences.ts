/** What a person has chosen for this device's interface. Kept beside the data, not in the log: it is no one else's. */
import { useLocalStorage, usePreferredDark } from '@vueuse/core'
import { watch } from 'vue'
import { chooseLanguage, type Language } from '../i18n'

export type Theme = 'auto' | 'light' | 'dark'

const GROUND = { light: '#fbf8f4', dark: '#171310' }

export const theme = useLocalStorage<Theme>('domovoi.theme', 'auto')
/** The model to ask, by name; '' leaves it to the node. */
export const chosenModel = useLocalStorage('domovoi.model', '')
/** The longest answer to ask for, in tokens; 0 leaves it to the node. */
export const longestAnswer = useLocalStorage('domovoi.longestAnswer', 0)
export const language = useLocalStorage<Language>('domovoi.language', chooseLanguage(navigator.languages))

/** Keeps the page in the chosen theme, the browser's bar with it. */
export function applyTheme(page: Document): void {
  const isDark = usePreferredDark()
  watch(
    [theme, isDark],
    () => {
      const shown = theme.value === 'auto' ? (isDark.value ? 'dark' : 'light') : theme.value
      if (theme.value === 'auto') delete page.documentElement.dataset['theme']
      else page.documentElement.dataset['theme'] = theme.value
      for (const meta of page.querySelectorAll<HTMLMetaElement>('meta[name="theme-color"]'))
        meta.content = GROUND[shown]
    },
    { immediate: true },
  )
}
