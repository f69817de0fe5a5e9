import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { constants, gzip } from 'node:zlib'
import vue from '@vitejs/plugin-vue'
import icons from 'unplugin-icons/vite'
import { VitePWA } from 'vite-plugin-pwa'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'
import { manifest } from './src/worker/manifest'

const COMPRESSED = /\.(?:js|css|html|svg|webmanifest)$/

/** Writes a .gz beside every text file of the build: the server sends it as it is. */
function compressed(): Plugin {
  let folder = ''
  return {
    name: 'domovoi:compressed',
    apply: 'build',
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir)
    },
    closeBundle: {
      sequential: true,
      order: 'post',
      async handler() {
        const names = await readdir(folder, { recursive: true })
        await Promise.all(
          names
            .filter((name) => COMPRESSED.test(name))
            .map(async (name) => {
              const path = join(folder, name)
              const bytes = await promisify(gzip)(await readFile(path), { level: constants.Z_BEST_COMPRESSION })
              await writeFile(`${path}.gz`, bytes)
            }),
        )
      },
    },
  }
}

export default defineConfig(({ mode }) => {
  const source = resolve(import.meta.dirname, 'src')
  const drawings = resolve(import.meta.dirname, 'dev')
  // `npm run drawings` shows every screen with made-up data; nothing of it is in the product.
  const isDrawing = mode === 'drawings'
  return {
    resolve: {
      alias: [
        ...(isDrawing
          ? [
              { find: /^@\/composables$/, replacement: join(drawings, 'composables.ts') },
              { find: /^@\/stores\/domovoi$/, replacement: join(drawings, 'domovoi.ts') },
            ]
          : []),
        { find: /^@\//, replacement: `${source}/` },
      ],
    },
    define: {
      __VUE_OPTIONS_API__: false,
      __VUE_I18N_FULL_INSTALL__: false,
      __VUE_I18N_LEGACY_API__: false,
      // Messages become syntax trees, not code: the page's policy forbids eval.
      __INTLIFY_JIT_COMPILATION__: true,
    },
    plugins: [
      vue(),
      icons({ compiler: 'vue3', scale: 0 }),
      VitePWA({
        strategies: 'injectManifest',
        srcDir: 'src/worker',
        filename: 'serviceWorker.ts',
        registerType: 'prompt',
        injectRegister: false,
        manifest,
        includeAssets: ['favicon.svg', 'apple-touch-icon.png'],
        injectManifest: { globPatterns: ['**/*.{js,css,html,svg}'], globIgnores: ['**/*.gz'] },
      }),
      compressed(),
    ],
    build: { target: 'es2023', outDir: 'dist', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
    server: { proxy: { '/api': 'http://localhost:8460', '/relay': { target: 'http://localhost:8460', ws: false } } },
    test: { include: ['tests/**/*.test.ts'] },
  }
})
