/** The figures of an answer, in words. */
import type { AnswerView } from '@/composables'
import { useWords } from '@/interface/useWords'

export interface Fact {
  name: string
  value: string
}

export function useAnswerWords() {
  const { t, count, format } = useWords()
  const seconds = (milliseconds: number) => t('facts.seconds', { n: format.value.seconds(milliseconds) })
  const perSecond = (speed: number) => t('facts.perSecond', { n: format.value.number(speed) })

  /** The line under an answer. With `isLong`, what the wide screen has room for as well. */
  const line = (answer: AnswerView, isLong: boolean): string[] => {
    const { route, nodeName, model, firstTokenMs, tokensPerSecond } = answer
    const first = firstTokenMs === null ? null : t('facts.firstWordAfter', { time: seconds(firstTokenMs) })
    const origin = route === null ? (answer.node === null ? null : t('facts.awayWord')) : t(`facts.${route}`)
    return [
      answer.state === 'stopped' ? t('answer.stopped') : null,
      origin,
      isLong || route === null ? nodeName : null,
      model,
      isLong ? first : null,
      tokensPerSecond === null ? null : perSecond(tokensPerSecond),
    ].filter((part) => part !== null)
  }

  const facts = (answer: AnswerView): Fact[] => {
    const { tokens, durationMs, droppedMessages } = answer
    const length = tokens === null ? null : count('facts.tokens', tokens)
    const isTimed = length !== null && durationMs !== null
    const all: [string, string | null][] = [
      ['route', answer.route === null ? null : t(`facts.${answer.route}`)],
      ['node', answer.nodeName],
      ['model', answer.model],
      ['engine', answer.engine],
      ['firstWord', answer.firstTokenMs === null ? null : seconds(answer.firstTokenMs)],
      ['length', isTimed ? t('facts.lengthIn', { tokens: length, time: seconds(durationMs) }) : length],
      ['speed', answer.tokensPerSecond === null ? null : perSecond(answer.tokensPerSecond)],
      ['dropped', droppedMessages === 0 ? null : count('thread.dropped', droppedMessages)],
    ]
    return all.flatMap(([name, value]) => (value === null ? [] : [{ name: t(`facts.${name}`), value }]))
  }
  return { line, facts }
}
