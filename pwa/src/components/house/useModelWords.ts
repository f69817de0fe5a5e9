/** Models, their states and what was stepped down, in words. */
import type { ModelView, StepDown } from '@/composables'
import { useWords } from '@/interface/useWords'

export function useModelWords() {
  const { t, te, explain, format } = useWords()
  const size = (bytes: number) => format.value.size(bytes)
  const inContext = (tokens: number) => t('models.context', { n: format.value.kilo(tokens) })

  /** Q4_K_M · 5 GB · 32,768 tokens · Apache-2.0 */
  const facts = ({
    quantisation,
    size: bytes,
    context,
    licence,
  }: Pick<ModelView, 'quantisation' | 'size' | 'context'> & { licence: string | null }) =>
    [quantisation, bytes > 0 ? size(bytes) : '', context > 0 ? inContext(context) : '', licence ?? ''].filter(
      (fact) => fact !== '',
    )

  const inMemory = ({ engine, loadedContext, tokensPerSecond }: ModelView) =>
    [
      engine,
      loadedContext > 0 ? inContext(loadedContext) : null,
      tokensPerSecond === null ? null : t('facts.perSecond', { n: format.value.number(tokensPerSecond) }),
    ]
      .filter((part) => part !== null)
      .join(' · ')

  /** What a model is doing or what is wrong with it; '' where there is nothing to say. */
  const state = (model: ModelView): string => {
    const of = { done: size(model.done), total: size(model.total) }
    switch (model.state) {
      case 'ready':
        return inMemory(model)
      case 'waiting':
        return t('models.waiting')
      case 'loading':
        return model.total > 0 ? t('models.loadingOf', of) : t('models.loading')
      case 'stalled':
        return t('models.stalled')
      case 'failed':
        return explain(model.code ?? 'unknown')
      case 'pulling':
        return t('models.pullingOf', of)
      case 'partial':
        return model.code === null ? t('models.partialOf', of) : explain(model.code)
      case 'arriving':
        return t('models.arriving')
      case 'damaged':
        return t('models.damaged')
      case 'idle':
        return fitting(model)
    }
  }
  const fitting = ({ fits, fittingContext }: ModelView) => {
    if (fits === 'too_large') return t('models.tooLarge')
    return fits === 'tight' ? t('models.tight', { n: format.value.kilo(fittingContext) }) : ''
  }

  /** What a PC does with less than it might, and why. */
  const stepDown = ({ model, engine, what, to, code }: StepDown): string => {
    const value = what === 'context' ? format.value.kilo(Number(to)) : to
    const said = te(`steps.${what}`)
      ? t(`steps.${what}`, { model, engine, to: value })
      : t('steps.other', { model, to })
    return `${said} ${te(`steps.because.${code}`) ? t(`steps.because.${code}`) : explain(code)}`
  }
  return { facts, state, stepDown, size, inContext }
}
