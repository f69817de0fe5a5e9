/** How much of the browser's space is used, and whether the browser has promised to keep it. */
import { ref } from 'vue'

export function useStorage() {
  const used = ref<number | null>(null)
  const quota = ref<number | null>(null)
  const isKept = ref(false)
  // Absent on plain http origins other than localhost.
  const storage = (navigator as { storage?: StorageManager }).storage

  async function read(): Promise<void> {
    if (storage === undefined) return
    const estimate = await storage.estimate()
    used.value = estimate.usage ?? null
    quota.value = estimate.quota ?? null
    isKept.value = await storage.persisted()
  }
  /** Asks the browser not to clear the data when space is short; says whether it agreed. */
  async function keep(): Promise<boolean> {
    isKept.value = (await storage?.persist()) ?? false
    return isKept.value
  }
  void read()
  return { used, quota, isKept, keep }
}
