/** Runs composables as a component would, without a page. */
import { createApp, effectScope } from 'vue'
import { onTestFinished } from 'vitest'
import { provideDomovoi, type Domovoi } from '../../src/stores/domovoi'

export function mounted<Result>(domovoi: Domovoi, setup: () => Result): { result: Result; unmount: () => void } {
  const app = createApp({})
  provideDomovoi(app, domovoi)
  const scope = effectScope()
  const result = app.runWithContext(() => scope.run(setup)) as Result
  const unmount = () => {
    scope.stop()
  }
  onTestFinished(unmount)
  return { result, unmount }
}
