/** Fields of an account, what is wrong with which, and the way on once it is right. */
import { computed, reactive, ref } from 'vue'
import { useRouter } from 'vue-router'
import { deviceKind, deviceSystem } from '@/interface/device'
import { codeOf, useWords } from '@/interface/useWords'

export type FieldName = 'code' | 'username' | 'password' | 'device'

const FIELD_OF: Readonly<Record<string, FieldName>> = {
  setup_code_wrong: 'code',
  invitation_wrong: 'code',
  username_invalid: 'username',
  username_taken: 'username',
  password_too_short: 'password',
  password_too_long: 'password',
  password_too_common: 'password',
}

export function useAccountForm(checked: readonly FieldName[]) {
  const { t, explain } = useWords()
  const router = useRouter()
  const values = reactive({ code: '', username: '', password: '', device: guessDeviceName(t) })
  const wrong = ref<{ field: FieldName | null; text: string } | null>(null)
  const isBusy = ref(false)

  const errors = computed(() => {
    const at = (field: FieldName) => (wrong.value?.field === field ? wrong.value.text : '')
    return { code: at('code'), username: at('username'), password: at('password'), device: at('device') }
  })
  /** What is wrong with none of the fields in particular. */
  const problem = computed(() => (wrong.value?.field === null ? wrong.value.text : ''))

  async function submit(deed: () => Promise<void>): Promise<void> {
    if (isBusy.value) return
    wrong.value = null
    const empty = checked.find((field) => values[field].trim() === '')
    if (empty !== undefined) {
      wrong.value = { field: empty, text: t('welcome.missing') }
      return
    }
    isBusy.value = true
    try {
      await deed()
      await router.replace('/chats')
    } catch (error) {
      wrong.value = { field: FIELD_OF[codeOf(error) ?? ''] ?? null, text: explain(error) }
    } finally {
      isBusy.value = false
    }
  }
  return { values, errors, problem, isBusy, submit }
}

function guessDeviceName(t: (key: string, named?: Record<string, unknown>) => string): string {
  const name = t(`deviceNames.${deviceKind(navigator.userAgent)}`)
  const system = deviceSystem(navigator.userAgent)
  return system === null ? name : t('deviceNames.named', { name, system })
}
