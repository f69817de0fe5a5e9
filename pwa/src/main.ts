import { createApp, effectScope, watch } from 'vue'
import App from './App.vue'
import { createWords, speak } from './i18n'
import { applyTheme, language } from './interface/preferences'
import { registerWorker } from './interface/updates'
import { createAppRouter } from './router'
import { installDomovoi } from '@/stores/domovoi'
import './styles/index.css'

const words = createWords()
const app = createApp(App)
const domovoi = installDomovoi(app)

async function speakChosen(): Promise<void> {
  await speak(words, language.value)
  document.documentElement.lang = language.value
}

effectScope().run(() => {
  applyTheme(document)
  watch(language, () => void speakChosen())
})

// Words and first page come at the same time.
app.use(words)
const router = createAppRouter(() => domovoi.session.state.account !== null)
app.use(router)

// Not awaited at the top level: the words' own chunk imports from this one and would wait for it in turn.
void Promise.all([speakChosen(), router.isReady()]).then(() => {
  app.mount('#app')
  registerWorker(words.global.t)
})
