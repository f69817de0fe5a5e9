import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import icons from 'unplugin-icons/vite'
import type { Plugin } from 'vite'
import { VitePWA } from 'vite-plugin-pwa'
import { defineConfig } from 'vitest/config'
import { manifest } from './manifest'

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** Writes a .gz beside everything worth it, so that neither server nor proxy compresses on each request. */
function gzipBeside(): Plugin {
  return {
    name: 'gzip-beside',
    apply: 'build',
    // Once written: before that, Vite still replaces its placeholders in the code.
    writeBundle({ dir }, bundle) {
      for (const fileName of Object.keys(bundle)) {
        if (dir === undefined || !/\.(?:js|css|svg|webmanifest)$/.test(fileName)) continue
        const file = join(dir, fileName)
        writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }))
      }
    },
  }
}

/** vue-i18n looks a name up in all of Vue, which would keep all of Vue in the bundle: 40 kB for one function. */
function shakeVue(): Plugin {
  const wholeOfVue = "import * as Vue from 'vue';"
  return {
    name: 'shake-vue',
    transform(code, id) {
      if (!id.includes('/vue-i18n/') || !code.includes(wholeOfVue)) return null
      const needed = "import { getCurrentInstance as theInstance } from 'vue'; const Vue = { getCurrentInstance: theInstance };"
      return { code: code.replace(wholeOfVue, needed), map: null }
    },
  }
}

export default defineConfig(({ mode }) => ({
  resolve: {
    alias: [
      ...(mode === 'drawing'
        ? [
            { find: /^@\/composables$/, replacement: path('./dev/composables.ts') },
            { find: /^@\/stores\/domovoi$/, replacement: path('./dev/domovoi.ts') },
          ]
        : []),
      { find: '@', replacement: path('./src') },
    ],
  },
  define: {
    __VUE_OPTIONS_API__: false,
    __VUE_PROD_DEVTOOLS__: false,
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: false,
    __VUE_I18N_FULL_INSTALL__: false,
    __VUE_I18N_LEGACY_API__: false,
    __INTLIFY_PROD_DEVTOOLS__: false,
    __INTLIFY_DROP_MESSAGE_COMPILER__: false,
    // Messages are interpreted, never compiled to functions: script-src 'self' forbids eval.
    __INTLIFY_JIT_COMPILATION__: true,
  },
  plugins: [
    vue(),
    shakeVue(),
    icons({
      compiler: 'vue3',
      defaultClass: 'i',
      iconCustomizer: (_collection, _icon, properties) => {
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
      injectManifest: { globPatterns: ['**/*.{js,css,html,svg,png,webmanifest}'] },
    }),
    gzipBeside(),
  ],
  build: {
    target: ['chrome123', 'safari17.5', 'firefox120'],
    // A data: address would need its own permission in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/api': 'http://localhost:8460', '/.well-known': 'http://localhost:8460' } },
  test: { environment: 'node', include: ['tests/**/*.test.ts'], restoreMocks: true },
}))
