/** The last thing that happens to HTML before the page gets it. */
import DOMPurify, { type Config } from 'dompurify'

const ATTRIBUTES = ['class', 'dir', 'rel', 'start', 'tabindex', 'target', 'type']
const CONFIG: Config = {
  ALLOWED_TAGS: [
    ...['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'strong', 'em', 's', 'code', 'pre', 'blockquote'],
    ...['ul', 'ol', 'li', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'a', 'div', 'span', 'button'],
  ],
  ALLOWED_ATTR: ['href', ...ATTRIBUTES],
  // Else their values too would have to look like addresses.
  ADD_URI_SAFE_ATTR: ATTRIBUTES,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
}

export function sanitize(html: string): string {
  return DOMPurify.sanitize(html, CONFIG)
}
