import { createI18n } from 'vue-i18n'
import type { Messages } from './en'
import { pluralRule } from './plurals'

export type Language = 'en' | 'ru'

/** Each language in its own words. */
export const languageNames: Record<Language, string> = { en: 'English', ru: 'Русский' }
export const languages: readonly Language[] = ['en', 'ru']

const LOADERS: Record<Language, () => Promise<Messages>> = {
  en: async () => (await import('./en')).en,
  ru: async () => (await import('./ru')).ru,
}

/** Returns the first of the wished languages that Domovoi speaks, else English. */
export function chooseLanguage(wished: readonly string[]): Language {
  const spoken = wished.map((tag) => tag.toLowerCase().split('-')[0])
  return spoken.map((tag) => languages.find((language) => language === tag)).find(Boolean) ?? 'en'
}

/** A vue-i18n without words yet. */
export function createWords() {
  return createI18n({
    legacy: false,
    locale: 'en',
    fallbackLocale: [],
    pluralRules: { en: pluralRule('en'), ru: pluralRule('ru') },
  })
}

export type Words = ReturnType<typeof createWords>

/** Fetches a language if need be and speaks it from then on. */
export async function speak(words: Words, language: Language): Promise<void> {
  const { global } = words
  const isKnown = Object.keys(global.getLocaleMessage(language)).length > 0
  if (!isKnown) global.setLocaleMessage(language, await LOADERS[language]())
  global.locale.value = language
}
