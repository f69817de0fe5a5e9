import type { ManifestOptions } from 'vite-plugin-pwa'

/** How the installed app presents itself. */
export const manifest: Partial<ManifestOptions> = {
  id: '/',
  name: 'Domovoi',
  short_name: 'Domovoi',
  description: 'An assistant that lives in your own house.',
  start_url: '/',
  scope: '/',
  display: 'standalone',
  background_color: '#fbf8f4',
  theme_color: '#fbf8f4',
  categories: ['productivity', 'utilities'],
  icons: [
    { src: '/icons/icon-192.png', sizes: '192x192', type: 'image/png', purpose: 'any' },
    { src: '/icons/icon-512.png', sizes: '512x512', type: 'image/png', purpose: 'any' },
    { src: '/icons/icon-maskable-512.png', sizes: '512x512', type: 'image/png', purpose: 'maskable' },
    { src: '/icons/icon.svg', sizes: 'any', type: 'image/svg+xml', purpose: 'any' },
  ],
  shortcuts: [{ name: 'New chat', url: '/new' }],
}
