/** JSON in the one reading that every language shares: no name twice, no number but whole ones (rule K2). */

/** Strings, brackets, commas and colons, and everything that is none of these: numbers and words. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g
const WHOLE = /^-?\d+$/
/** Nothing of ours has more; other readers give up sooner or later, each at another depth. */
const MAX_DEPTH = 100

/**
 * Returns an object. Numbers that are not whole become null, which is no value for anything of ours. Throws Error for
 * what is no JSON, no object, or names a member twice.
 */
export function parseObject(text: string): Record<string, unknown> {
  // A grammar of our own would have faults of its own: below, only what JSON.parse has taken is looked at.
  JSON.parse(text)
  const value: unknown = JSON.parse(withoutFractions(text))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not a JSON object')
  return value as Record<string, unknown>
}

function withoutFractions(text: string): string {
  const tokens = text.match(TOKENS) ?? []
  const open: Set<string>[] = []
  for (const [index, token] of tokens.entries()) {
    if (token === '{' || token === '[') open.push(new Set())
    else if (token === '}' || token === ']') open.pop()
    else if (tokens[index + 1] === ':') note(open.at(-1), JSON.parse(token) as string)
    else if (/^[-\d]/.test(token) && !WHOLE.test(token)) tokens[index] = 'null'
    if (open.length > MAX_DEPTH) throw new Error('too deep')
  }
  return tokens.join('')
}

function note(names: Set<string> | undefined, name: string): void {
  if (names?.has(name) !== false) throw new Error(`${name} is there twice`)
  names.add(name)
}
