/** Addresses of the app. Codes that come in an address are taken out of it at once: addresses are kept and shared. */
import { createRouter, createWebHistory, type Router, type RouteRecordRaw } from 'vue-router'
import ChatsView from './views/ChatsView.vue'
import ThreadView from './views/ThreadView.vue'

declare module 'vue-router' {
  interface RouteMeta {
    /** Open to people who have not logged in. */
    isOpen?: boolean
    /** Shows the tab bar on small screens. */
    hasTabs?: boolean
  }
}

export const routes: RouteRecordRaw[] = [
  { path: '/', redirect: '/chats' },
  { path: '/chats', name: 'chats', component: ChatsView, meta: { hasTabs: true } },
  { path: '/chats/:id([0-9a-f]{32})', name: 'thread', component: ThreadView },
  { path: '/new', name: 'new', component: ThreadView },
  { path: '/house', name: 'house', component: () => import('./views/HouseView.vue'), meta: { hasTabs: true } },
  { path: '/settings', name: 'settings', component: () => import('./views/SettingsView.vue'), meta: { hasTabs: true } },
  { path: '/bin', name: 'bin', component: () => import('./views/BinView.vue') },
  { path: '/welcome', name: 'welcome', component: () => import('./views/WelcomeView.vue'), meta: { isOpen: true } },
  { path: '/login', name: 'login', component: () => import('./views/LoginView.vue'), meta: { isOpen: true } },
  { path: '/:path(.*)*', name: 'lost', component: () => import('./views/LostView.vue'), meta: { isOpen: true } },
]

/** `isKnown` says whether somebody has logged in on this device, now or before. */
export function createAppRouter(isKnown: () => boolean): Router {
  const router = createRouter({ history: createWebHistory(), routes })
  router.beforeEach((to) => (to.meta.isOpen === true || isKnown() ? true : { name: 'welcome', replace: true }))
  return router
}
