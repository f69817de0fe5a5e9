import { createI18n } from 'vue-i18n'
import { en, type Messages } from './en'
import { pluralRule } from './plurals'
import { ru } from './ru'

export type Language = 'en' | 'ru'

export const messages: Record<Language, Messages> = { en, ru }
export const languages = Object.keys(messages) as Language[]
/** Each language in its own words. */
export const languageNames: Record<Language, string> = { en: 'English', ru: 'Русский' }

/** Returns the first of the wished languages that Domovoi speaks, else English. */
export function chooseLanguage(wished: readonly string[]): Language {
  const spoken = wished.map((tag) => tag.toLowerCase().split('-')[0])
  return spoken.map((tag) => languages.find((language) => language === tag)).find(Boolean) ?? 'en'
}

export function createWords(language: Language) {
  return createI18n({
    legacy: false,
    locale: language,
    fallbackLocale: 'en',
    messages,
    pluralRules: { en: pluralRule('en'), ru: pluralRule('ru') },
  })
}
