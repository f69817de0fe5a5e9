/** What a dialog offers to those who hold it. */
export interface Closable {
  close: () => void
}
