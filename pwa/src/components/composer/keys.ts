/** The key code of keys that an input method is still using, in browsers that say so no other way. */
const IN_COMPOSITION = 229

/** Says whether a key press sends: Enter alone, outside input methods, where there is a real keyboard. */
export function sendsOn(event: KeyboardEvent, isCoarse: boolean): boolean {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- Safari ends a composition before its Enter arrives
  if (event.key !== 'Enter' || event.isComposing || event.keyCode === IN_COMPOSITION) return false
  return !isCoarse && !event.shiftKey && !event.altKey && !event.repeat
}
