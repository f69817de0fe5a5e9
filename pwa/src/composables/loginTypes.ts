/** Logins on other devices, as the interface shows them. */
import type { ComputedRef } from 'vue'

export interface LoginNoticeView {
  deviceId: string
  name: string
  /** Milliseconds since 1970. */
  at: number
  /** From where, as the server saw it; null where it can't be told. */
  address: string | null
}

export interface LoginsView {
  /** Those of which nobody has said yet whose they were, oldest first. */
  notices: ComputedRef<LoginNoticeView[]>
  /** It was the person's own. */
  wasMine(notice: LoginNoticeView): Promise<void>
  /** Disconnects the device at once. The password is known to somebody else: it should be changed next. */
  wasNotMine(notice: LoginNoticeView): Promise<void>
}
