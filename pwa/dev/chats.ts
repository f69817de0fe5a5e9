/** The chats of the drawings, with one answer that grows. */
import { ref } from 'vue'
import type { AnswerView, ConversationSummary, Delivery, Id, ThreadMessage } from '../src/composables/types'

const HOUR = 3_600_000
const at = (days: number, hours: number, minutes: number) =>
  new Date().setHours(hours, minutes, 0, 0) - days * 24 * HOUR
const idOf = (n: number): Id => n.toString(16).padStart(32, '0')

function chat(n: number, title: string, snippet: string, updatedAt: number, more: Partial<ConversationSummary> = {}) {
  return {
    ...{
      id: idOf(n),
      title,
      snippet,
      updatedAt,
      pinned: false,
      queued: 0,
      failed: false,
      answering: false,
      unread: false,
    },
    ...more,
  }
}

export const chats: ConversationSummary[] = [
  chat(1, 'Borodinsky rye', 'Double everything, and bake for 70 minutes.', at(0, 0, 12), {
    pinned: true,
    answering: true,
  }),
  chat(2, 'Boiler: pressure drops at night', 'And a short text in Russian for the plumber', at(0, 0, 40), {
    pinned: true,
    queued: 2,
  }),
  chat(3, 'Essay: why Oblomov stays on the sofa', 'The second paragraph now carries the argument', at(0, 0, 5), {
    unread: true,
  }),
  chat(4, 'rename_photos.py', 'It missed IMG_2041 (1).HEIC because of the space', at(0, 0, 2), { unread: true }),
  chat(5, 'A badger who could not sleep', 'And then the owl said', at(0, 0, 1), { failed: true }),
  chat(6, 'Письмо в управляющую компанию', 'Прошу произвести перерасчёт за отопление', at(1, 21, 14)),
  chat(7, 'Rechtsschutzversicherungsbedingungen', 'In short: they pay from the second year on', at(1, 19, 2)),
  chat(8, 'Kizhi in May, four people', 'Two nights in Petrozavodsk, then the hydrofoil', at(4, 12, 0)),
  chat(9, 'Дача, насос', 'реле давления щёлкает каждые две минуты', at(40, 12, 0)),
]

const done: AnswerView = {
  ...{ state: 'done', blocked: false, code: null, node: 'f0'.repeat(16), nodeName: 'Study PC', model: 'Qwen3-8B' },
  ...{ engine: 'llama.cpp', route: 'direct', firstTokenMs: 210, durationMs: 3500, tokens: 212, tokensPerSecond: 61 },
  ...{ droppedMessages: 0, notices: [] },
}

function said(n: number, text: string, createdAt: number, delivery: Delivery = 'accepted'): ThreadMessage {
  const id = idOf(n)
  return { id, role: 'user', parent: idOf(n - 1), text, createdAt, delivery, siblings: [id], answer: null }
}

function answered(n: number, text: string, createdAt: number, more: Partial<AnswerView> = {}, siblings = [idOf(n)]) {
  const answer = { ...done, ...more }
  const message: ThreadMessage = {
    ...{ id: idOf(n), role: 'assistant', parent: idOf(n - 1), text, createdAt, delivery: null, siblings, answer },
  }
  return message
}

const RYE = `Double everything, and bake for **70 minutes**.

| Flour and rest | One loaf | Two loaves |
| :--- | ---: | ---: |
| Rye, dark | 340 g | 680 g |
| Wheat | 60 g | 120 g |
| Rye starter | 180 g | 360 g |

\`\`\`python
LOAF = {"rye": 340, "wheat": 60,
        "starter": 180, "malt": 25}

def scale(loaves):  # in grams
    return {k: round(g * loaves)
            for k, g in LOAF.items()}
\`\`\`
`
const BOILER = `Probably not before the weekend. Losing 0.7 bar overnight with no puddle usually means the **expansion vessel** has lost its air. Three checks, ten minutes:

1. Let it cool below 40 °C and read the gauge.
2. Press the valve on the red vessel for a second. Air is good, water is not.
3. Put dry paper under the safety valve and look in the morning.

| What you find | What it means | Who |
| --- | --- | --- |
| Air, gauge under 0.8 bar | Vessel wants pumping up | You, with a car pump |
| Water from the valve | Membrane is torn | Plumber, this week |
| Wet paper | Safety valve weeps | Plumber, this week |

### Before you start

- Read [the manual](https://example.org/boiler) first.
- Switch it off.

> If you smell gas, leave the room and call the gas service first.
`
const GROWING = `That is **1.3 loaves**, so call \`scale(1.3)\` and leave two fingers of room for the rise. `

export const threads = ref(
  new Map<Id, ThreadMessage[]>([
    [
      idOf(1),
      [
        said(101, 'Now for two, with a script', at(0, 0, 2)),
        answered(102, RYE, at(0, 0, 3), {}, [idOf(990), idOf(102), idOf(991)]),
        said(103, 'How many fit a 1.2 kg tin?', at(0, 0, 6)),
        answered(104, GROWING, at(0, 0, 6), { state: 'running', tokens: null, tokensPerSecond: null }),
      ],
    ],
    [
      idOf(2),
      [
        said(201, 'It falls from 1.6 to 0.9 bar every night. Need a plumber?', at(1, 18, 20)),
        answered(202, BOILER, at(1, 18, 21), { route: 'relay' }),
        said(203, 'Cold 1.0, hot 2.6. The paper is wet.', at(0, 0, 31)),
        answered(204, 'Then it is the', at(0, 0, 31), { state: 'interrupted', code: 'node_restarted' }),
        said(205, 'You can see it here', at(0, 0, 33), 'failed'),
        said(206, 'So it’s the valve?', at(0, 0, 34), 'sending'),
        said(207, 'And a short text in Russian for the plumber, with all the numbers', at(0, 0, 40), 'queued'),
        answered(208, '', at(0, 0, 40), { state: 'queued', node: null, route: null }),
      ],
    ],
  ]),
)

const WORDS = 'It rises by a third while it rests, and the crust needs the rest of the way.'.split(' ')
let words = 0
setInterval(() => {
  const growing = threads.value.get(idOf(1))?.at(-1)
  if (growing === undefined || new URLSearchParams(location.search).has('still')) return
  growing.text = `${growing.text}${WORDS[words % WORDS.length] ?? ''} `
  words += 1
  if (words % 40 === 0) growing.text += '\n\n'
}, 120)
