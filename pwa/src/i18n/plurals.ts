/** Plural forms as Intl knows them, for the bars in the messages. */
import type { PluralizationRule } from 'vue-i18n'

const ORDER: readonly Intl.LDMLPluralRule[] = ['zero', 'one', 'two', 'few', 'many', 'other']

/** Returns the categories of a language in the order in which its messages give them. */
export function pluralCategories(language: string): Intl.LDMLPluralRule[] {
  const known = new Set(new Intl.PluralRules(language).resolvedOptions().pluralCategories)
  return ORDER.filter((category) => known.has(category))
}

/** Returns the rule that picks among the forms of a message. */
export function pluralRule(language: string): PluralizationRule {
  const rules = new Intl.PluralRules(language)
  const categories = pluralCategories(language)
  return (choice) => categories.indexOf(rules.select(choice))
}
