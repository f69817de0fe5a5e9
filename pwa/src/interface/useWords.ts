/** Words and figures in the chosen language. */
import { computed } from 'vue'
import { useI18n } from 'vue-i18n'
import { formatOf, regionalTag } from '../i18n/format'

export function useWords() {
  const { t, te, locale } = useI18n({ useScope: 'global' })
  const format = computed(() => formatOf(regionalTag(locale.value, navigator.languages)))
  /** The sentence for a failure: whatever was thrown, or a code of the closed set. */
  const explain = (failure: unknown): string => {
    const code = typeof failure === 'string' ? failure : codeOf(failure)
    return code !== null && te(`errors.${code}`) ? t(`errors.${code}`) : t('errors.unknown')
  }
  /** A message that counts, with the number written as the language writes it. */
  const count = (key: string, n: number, named: Record<string, unknown> = {}): string =>
    t(key, { n: format.value.number(n), ...named }, n)
  return { t, te, locale, format, explain, count }
}

export function codeOf(failure: unknown): string | null {
  return failure instanceof Error && 'code' in failure && typeof failure.code === 'string' ? failure.code : null
}
