/** Bundles page.ts with the app's own modules into one file that the harness can take. */
import { resolve } from 'node:path'

// Nothing is installed here, so packages are named by their place in the app's folder.
const here = import.meta.dirname
const app = resolve(here, '../../../../pwa')

export default {
  root: here,
  resolve: { alias: { '@': resolve(app, 'src'), dexie: resolve(app, 'node_modules/dexie') } },
  define: { 'process.env.NODE_ENV': '"production"' },
  build: {
    lib: { entry: resolve(here, 'page.ts'), formats: ['es'], fileName: () => 'page.js' },
    minify: false,
    emptyOutDir: false,
  },
}
