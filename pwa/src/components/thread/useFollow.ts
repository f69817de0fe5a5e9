/** Keeps the end of a growing list in sight while the reader is there. Any upward scroll lets go. */
import { useResizeObserver } from '@vueuse/core'
import { readonly, ref, type Ref } from 'vue'

/** So near to the end counts as there, in px. */
const NEAR = 32
/** So far from it a way back is offered. */
const FAR = 160

export interface Follow {
  isFar: Readonly<Ref<boolean>>
  onScroll: () => void
  jump: (behavior?: ScrollBehavior) => void
}

export function useFollow(
  scroller: Readonly<Ref<HTMLElement | null>>,
  content: Readonly<Ref<HTMLElement | null>>,
): Follow {
  const isFar = ref(false)
  let isFollowing = true
  let lastTop = 0

  const distance = (element: HTMLElement) => element.scrollHeight - element.clientHeight - element.scrollTop
  const jump = (behavior: ScrollBehavior = 'instant') => {
    isFollowing = true
    const element = scroller.value
    element?.scrollTo({ top: element.scrollHeight, behavior })
  }
  const onScroll = () => {
    const element = scroller.value
    if (element === null) return
    const left = distance(element)
    if (left <= NEAR) isFollowing = true
    else if (element.scrollTop < lastTop) isFollowing = false
    lastTop = element.scrollTop
    isFar.value = left > FAR && !isFollowing
  }
  useResizeObserver([scroller, content], () => {
    if (isFollowing) jump()
    onScroll()
  })
  return { isFar: readonly(isFar), onScroll, jump }
}
