/** Which of a node's addresses this page may try, in order, and what keeps it from the others. Pure (rule D5). */
import type { Candidate } from '../protocol/generated'

/** No browser waits for more of them. */
const MOST_TRIED = 6
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])
// RFC 1918, 3927, 6598 and 4193: what a browser takes for the local network, as a URL writes it.
const LOCAL =
  /^(?:10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|\[f[cd])/

/** Where the page itself comes from: `https:` and `home.example`. */
export interface PageAddress {
  protocol: string
  host: string
}

/**
 * What the browser says of pages that call the network at home: `unneeded` for a page from there, `unsupported` for
 * browsers that know no such permission.
 */
export type LocalNetworkPermission = 'unneeded' | 'granted' | 'prompt' | 'denied' | 'unsupported'

/** Why an address is not tried: the person has not been asked, has refused, or the browser never lets a page do it. */
export type Obstacle = 'unasked' | 'denied' | 'forbidden'

export interface Way {
  candidate: Candidate
  base: string
  obstacle: Obstacle | null
}

/** The address before `/v1/…`. */
export function baseOf({ scheme, host, port }: Candidate): string {
  return `${scheme}://${host}:${String(port)}`
}

/** Says whether the page was loaded from this machine or its network, so that nobody has to be asked. */
export function isAtHome({ host }: PageAddress): boolean {
  return LOOPBACK.has(host) || LOCAL.test(host)
}

/** Returns the addresses in the order in which they are tried; those with an obstacle are only told. */
export function waysTo(candidates: readonly Candidate[], page: PageAddress, permission: LocalNetworkPermission): Way[] {
  const isHere = LOOPBACK.has(page.host)
  const ways = candidates
    // Whether it runs on the PC itself, only a page from there knows: another would have the browser ask once more.
    .filter(({ kind }) => kind !== 'loopback' || isHere)
    .map((candidate): Way => ({
      candidate,
      base: baseOf(candidate),
      obstacle: obstacleTo(candidate, page, permission),
    }))
  const open = ways.filter(({ obstacle }) => obstacle === null).slice(0, MOST_TRIED)
  return [...open, ...ways.filter(({ obstacle }) => obstacle !== null)]
}

function obstacleTo(
  { scheme, kind }: Candidate,
  page: PageAddress,
  permission: LocalNetworkPermission,
): Obstacle | null {
  if (permission === 'unneeded' || permission === 'granted') return null
  if (permission === 'prompt') return 'unasked'
  if (permission === 'denied') return 'denied'
  // Without that permission a page with a certificate may call others with one, and this machine.
  return scheme === 'https' || kind === 'loopback' || page.protocol === 'http:' ? null : 'forbidden'
}

/** Adds to a call what Chromium wants to know before it lets a page with a certificate call the network at home. */
export function atHome(url: string, init: RequestInit = {}): RequestInit {
  if (!url.startsWith('http://') || !LOCAL.test(url.slice('http://'.length))) return init
  return { ...init, targetAddressSpace: 'local' } as RequestInit
}
