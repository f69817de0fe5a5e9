import { describe, expect, it } from 'vitest'
import { pathTo, Tree, type Message } from '../../src/protocol/messages'
import { pack } from '../../src/protocol/clock'

function message(id: string, parent: string | null, ms = 1, deleted = false): Message {
  const created = pack(ms, 0, new Uint8Array(8))
  const rest = { conversation: 'c', role: 'user' as const, body: '', request: null, state: null, stop: false }
  return { id, parent, created, deleted, ...rest }
}

function tree(...messages: Message[]): Tree {
  return new Tree(new Map(messages.map((each) => [each.id, each])))
}

function ids(messages: readonly Message[] | null): string[] | null {
  return messages && messages.map((each) => each.id)
}

describe('paths', () => {
  it('M2: a message whose ancestor has not arrived has none', () => {
    const { messages } = tree(message('b', 'a'))
    expect(pathTo(messages, 'b')).toBeNull()
  })

  it('a ring of parents has none and shows nothing', () => {
    const ring = tree(message('a', 'b'), message('b', 'a'))
    expect(pathTo(ring.messages, 'a')).toBeNull()
    expect(ring.activePath('a')).toEqual([])
  })
})

describe('branches', () => {
  const branches = tree(
    message('root', null),
    message('old', 'root', 2),
    message('new', 'root', 3),
    message('gone', 'root', 4, true),
    message('leaf', 'old', 5),
  )

  it('M3: siblings stand in order of creation, then of id; deleted ones are left out', () => {
    expect(ids(branches.children('root'))).toEqual(['old', 'new'])
    expect(ids(tree(message('b', null), message('a', null)).children(null))).toEqual(['a', 'b'])
  })

  it('M4: the newest branch is the default', () => {
    expect(ids(branches.activePath(null))).toEqual(['root', 'new'])
  })

  it('M5: the active leaf chooses, and the newest leaf below it is shown', () => {
    expect(ids(branches.activePath('old'))).toEqual(['root', 'old', 'leaf'])
  })

  it.each(['gone', 'missing'])('M5: an active leaf that is %s is ignored', (leaf) => {
    expect(ids(branches.activePath(leaf))).toEqual(['root', 'new'])
  })
})
