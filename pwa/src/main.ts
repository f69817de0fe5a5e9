import { createApp, effectScope, watch } from 'vue'
import App from './App.vue'
import { createWords } from './i18n'
import { applyTheme, language } from './interface/preferences'
import { createAppRouter } from './router'
import { installDomovoi } from '@/stores/domovoi'
import { registerWorker } from './worker/register'
import './styles/index.css'

const words = createWords(language.value)
const app = createApp(App)
const domovoi = installDomovoi(app)

effectScope().run(() => {
  applyTheme(document)
  watch(
    language,
    (chosen) => {
      words.global.locale.value = chosen
      document.documentElement.lang = chosen
    },
    { immediate: true },
  )
})

app.use(words)
app.use(createAppRouter(() => domovoi.session.state.account !== null))
app.mount('#app')
registerWorker(words.global.t)
