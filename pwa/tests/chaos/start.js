/** Runs the phone of the chaos runs (`tests/chaos/` of the repository): `node start.js '{"origin": …, "places": …}'`. */
import { createServer } from 'vite'

// `runnerImport` would be shorter, and closes its runner before the app imports what it imports late.
const server = await createServer({
  configFile: false,
  root: new URL('../..', import.meta.url).pathname,
  define: { __VUE_OPTIONS_API__: 'false', __VUE_PROD_DEVTOOLS__: 'false' },
  appType: 'custom',
  logLevel: 'error',
  optimizeDeps: { noDiscovery: true },
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
})
const { run } = await server.environments.ssr.runner.import('/tests/chaos/phone.ts')
await run(JSON.parse(process.argv[2]))
