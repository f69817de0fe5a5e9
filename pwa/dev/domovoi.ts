/** Stands for the real Domovoi while drawing: somebody is logged in unless the scene says otherwise. */
import { scene } from './scenes'

export function installDomovoi() {
  return { session: { state: { account: scene.isKnown ? { accountId: 'drawing', username: 'Vera' } : null } } }
}
