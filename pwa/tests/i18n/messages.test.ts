import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { chooseLanguage, createWords, languageNames, languages, speak } from '@/i18n'
import { en } from '@/i18n/en'
import { pluralCategories } from '@/i18n/plurals'
import { ru } from '@/i18n/ru'

type Tree = { [key: string]: string | Tree }

function flatten(tree: Tree, prefix = ''): Map<string, string> {
  const entries = Object.entries(tree).flatMap(([key, value]): [string, string][] =>
    typeof value === 'string' ? [[prefix + key, value]] : [...flatten(value, `${prefix}${key}.`)],
  )
  return new Map(entries)
}

const texts = { en: flatten(en), ru: flatten(ru) }
const namesIn = (text: string) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]))].sort()

describe('the words', () => {
  it('are there in every language, under the same keys', () => {
    expect([...texts.ru.keys()]).toEqual([...texts.en.keys()])
    expect(Object.keys(languageNames)).toEqual(languages)
  })

  it.each([...texts.en.keys()])('name the same things: %s', (key) => {
    expect(namesIn(texts.ru.get(key) ?? '')).toEqual(namesIn(texts.en.get(key) ?? ''))
    for (const text of [texts.en.get(key), texts.ru.get(key)]) expect(text?.trim()).not.toBe('')
  })

  it.each(languages)('have every plural form where they have any: %s', (language) => {
    const forms = pluralCategories(language).length
    for (const [key, text] of texts[language]) {
      const count = text.split(' | ').length
      expect([1, forms], key).toContain(count)
    }
  })

  it('count in English and Russian', async () => {
    const words = createWords()
    await speak(words, 'ru')
    const count = (n: number) => words.global.t('status.messages', { n }, n)
    expect([1, 2, 5, 11, 21, 22, 0].map(count)).toEqual([
      ...['1 сообщение', '2 сообщения', '5 сообщений', '11 сообщений', '21 сообщение', '22 сообщения', '0 сообщений'],
    ])
    await speak(words, 'en')
    expect([0, 1, 2].map(count)).toEqual(['0 messages', '1 message', '2 messages'])
  })

  it('are all there that the app asks for, and asked for all that are there', () => {
    const sources = readSources(join(import.meta.dirname, '../../src'))
    const asked = [...sources.matchAll(/'([a-zA-Z]+\.[a-zA-Z_.]+)'/g)].map((match) => match[1] ?? '')
    const groups = new Set(Object.keys(en))
    const keys = asked.filter((key) => groups.has(key.split('.')[0] ?? '') && !/\.(?:ts|vue|css)$/.test(key))
    expect(keys.filter((key) => !texts.en.has(key))).toEqual([])
    const made = [...sources.matchAll(/`([a-zA-Z]+(?:\.[a-zA-Z_]+)*\.)\$\{/g)].map((match) => match[1] ?? '')
    const unused = [...texts.en.keys()].filter(
      (key) => !sources.includes(`${key}'`) && !made.some((prefix) => key.startsWith(prefix)),
    )
    expect(unused).toEqual([])
  })

  it('are those of the first wished language that is spoken', () => {
    expect(chooseLanguage(['de-DE', 'ru-RU', 'en'])).toBe('ru')
    expect(chooseLanguage(['de'])).toBe('en')
    expect(chooseLanguage([])).toBe('en')
  })
})

function readSources(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(?:vue|ts)$/.test(name) && !name.startsWith('i18n'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n')
}
