import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { constants, gzip } from 'node:zlib'
import vue from '@vitejs/plugin-vue'
import icons from 'unplugin-icons/vite'
import { VitePWA } from 'vite-plugin-pwa'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'
import { manifest } from './src/worker/manifest.ts'

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

/** vue-i18n looks one name up in all of Vue, which would keep all of Vue in the bundle: 16 kB for one function. */
function shakenVue(): Plugin {
  const wholeOfVue = "import * as Vue from 'vue';"
  const needed =
    "import { getCurrentInstance as theInstance } from 'vue'; const Vue = { getCurrentInstance: theInstance };"
  return {
    name: 'domovoi:shaken-vue',
    apply: 'build',
    transform(code, id) {
      if (!id.includes('/vue-i18n/') || !code.includes(wholeOfVue)) return null
      return { code: code.replace(wholeOfVue, needed), map: null }
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
      __VUE_PROD_DEVTOOLS__: false,
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: false,
      __INTLIFY_PROD_DEVTOOLS__: false,
      __INTLIFY_DROP_MESSAGE_COMPILER__: false,
      __VUE_I18N_FULL_INSTALL__: false,
      __VUE_I18N_LEGACY_API__: false,
      // Messages become syntax trees, not code: the page's policy forbids eval.
      __INTLIFY_JIT_COMPILATION__: true,
    },
    plugins: [
      vue(),
      shakenVue(),
      icons({
        compiler: 'vue3',
        defaultClass: 'i',
        iconCustomizer(_collection, _icon, properties) {
          // Sizes come from the style sheet, names from the control that the icon stands in.
          delete properties['width']
          delete properties['height']
          properties['aria-hidden'] = 'true'
        },
      }),
      VitePWA({
        strategies: 'injectManifest',
        srcDir: 'src/worker',
        filename: 'serviceWorker.ts',
        registerType: 'prompt',
        injectRegister: false,
        manifest,
        includeAssets: ['favicon.svg', 'apple-touch-icon.png'],
        injectManifest: { globPatterns: ['**/*.{js,css,html,svg,webmanifest}'], globIgnores: ['**/*.gz'] },
      }),
      compressed(),
    ],
    build: { target: 'es2023', outDir: 'dist', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
    server: { proxy: { '/api': 'http://localhost:8460', '/relay': { target: 'http://localhost:8460', ws: false } } },
    // Generous: on a busy machine a property takes several times as long, and waiting costs only what fails.
    test: { include: ['tests/**/*.test.ts'], testTimeout: 30_000 },
  }
})
