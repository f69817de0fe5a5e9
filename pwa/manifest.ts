import type { ManifestOptions } from 'vite-plugin-pwa'

/** How Domovoi looks once it is installed. */
export const manifest: Partial<ManifestOptions> = {
  id: '/',
  name: 'Domovoi',
  short_name: 'Domovoi',
  description: 'Chat with the models on your own PC, from every device, with and without a network.',
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
  ],
  shortcuts: [
    { name: 'New chat', url: '/new', icons: [{ src: '/icons/icon-192.png', sizes: '192x192', type: 'image/png' }] },
  ],
}
