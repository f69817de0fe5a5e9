/** Colours for code. The colourer and each language are fetched when a finished block first needs them. */
import type { HLJSApi, LanguageFn } from 'highlight.js'

type Load = () => Promise<{ default: LanguageFn }>

const LANGUAGES: Readonly<Record<string, Load>> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  go: () => import('highlight.js/lib/languages/go'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  php: () => import('highlight.js/lib/languages/php'),
  powershell: () => import('highlight.js/lib/languages/powershell'),
  python: () => import('highlight.js/lib/languages/python'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
}

const ALIASES: Readonly<Record<string, string>> = {
  ...{ sh: 'bash', shell: 'bash', zsh: 'bash', console: 'bash', 'c++': 'cpp', h: 'c', hpp: 'cpp', cs: 'csharp' },
  ...{ patch: 'diff', docker: 'dockerfile', golang: 'go', toml: 'ini', js: 'javascript', jsx: 'javascript' },
  ...{ mjs: 'javascript', jsonc: 'json', kt: 'kotlin', md: 'markdown', ps1: 'powershell', pwsh: 'powershell' },
  ...{ py: 'python', python3: 'python', rb: 'ruby', rs: 'rust', ts: 'typescript', tsx: 'typescript' },
  ...{ html: 'xml', svg: 'xml', vue: 'xml', yml: 'yaml' },
}

let colourer: HLJSApi | null = null

function nameOf(language: string): string {
  const name = language.toLowerCase()
  return (Object.hasOwn(ALIASES, name) ? ALIASES[name] : undefined) ?? name
}

/** Returns the code coloured, or null where its language is unknown or not loaded. */
export function highlight(code: string, language: string): string | null {
  const name = nameOf(language)
  if (colourer?.getLanguage(name) === undefined) return null
  return colourer.highlight(code, { language: name, ignoreIllegals: true }).value
}

/** Loads what is missing of these languages; says whether anything was. Offline and uncached, code stays plain. */
export async function loadLanguages(languages: Iterable<string>): Promise<boolean> {
  const names = new Set([...languages].map(nameOf).filter((name) => Object.hasOwn(LANGUAGES, name)))
  const missing = [...names].filter((name) => colourer?.getLanguage(name) === undefined)
  if (missing.length === 0) return false
  colourer ??= (await import('highlight.js/lib/core')).default
  for (const name of missing) {
    const language = await LANGUAGES[name]?.()
    if (language !== undefined) colourer.registerLanguage(name, language.default)
  }
  return true
}
