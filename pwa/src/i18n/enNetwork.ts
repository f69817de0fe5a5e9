/** English words of the ways to a PC, and of several PCs. */
export const enNetwork = {
  ways: {
    title: 'Ways there',
    kind: {
      relay: 'By way of the server',
      name: 'By its name',
      lan: 'Network at home',
      vpn: 'VPN',
      virtual: 'Virtual network',
      loopback: 'This PC itself',
    },
    open: '{ms} ms',
    inUse: '{ms} ms, in use',
    silent: 'nobody answers',
    stranger: 'somebody else answers there',
    nameless: 'the name leads nowhere from here',
    resting: 'left alone for a while',
    unasked: 'not asked yet',
    denied: 'blocked in this browser',
    forbidden: 'this browser never lets a page call it',
  },
  local: {
    offer: 'Answers could come straight from {node}: it seems to be in the same network as this device.',
    why: 'The browser asks whether Domovoi may reach devices on your local network. It calls {node} and nothing else, and every call is sealed.',
    allow: 'Allow direct answers',
    allowed: 'Answers come straight from {node} now.',
    denied: 'Local access blocked — how to allow',
    deniedHow:
      'Tap the sign at the left of the address, open the settings of this site and allow “Local network”. Then come back; nothing has to be reloaded. Until then answers come by way of your server.',
    nameless: 'The PC’s name leads nowhere in this network — what to do',
    namelessHow:
      'The PC is well and seems to be in this network, but its name opens nothing from here. Many routers drop names that lead to an address at home (“DNS rebind protection”). Allow the PC’s name there as an exception, or choose another DNS server on this device. If it stays so, see on the PC whether the certificate for that name is still good: domovoi doctor. Until then answers come by way of your server.',
    forbidden: 'This browser keeps pages from the local network',
    forbiddenHow:
      'Safari and Firefox let no page with a certificate call a PC by its address. Answers come by way of your server, just as they are. Chrome and Edge ask you instead, and a certificate for the PC opens the straight way in every browser.',
    switch: 'Answer on the home network',
    switchHint: 'Phones at home are answered directly, even while the server is away. Calls are sealed.',
    on: '{node} answers on the home network.',
    off: '{node} answers on this PC and through the server alone.',
  },
  // A PC that does not answer, by how it went.
  away: {
    line: {
      silent: 'PC asleep since {time}',
      stopped: 'PC off since {time}',
      lost: 'PC cut off since {time}',
      unknown: 'PC away since {time}',
    },
    card: {
      silent: '{node} is asleep. Messages wait for it.',
      stopped: 'Domovoi is closed on {node}. Messages wait for it.',
      lost: '{node} is cut off. Messages wait for it.',
      unknown: '{node} does not answer. Messages wait for it.',
    },
    say: {
      silent:
        'Nothing more is heard of {node}: it sleeps, or has no power or no network. What you write waits on the server until it wakes.',
      stopped:
        'Domovoi was closed on {node}, or the PC was shut down. What you write waits on the server until it is started again.',
      lost: 'The connection of {node} broke and has not come back. What you write waits on the server. If it lasts, see whether Domovoi still runs there.',
      unknown: '{node} does not answer. What you write waits on the server until it is back.',
    },
    stop: { silent: 'asleep', stopped: 'off', lost: 'cut off', unknown: 'away' },
    since: {
      silent: 'Asleep since {time}',
      stopped: 'Off since {time}',
      lost: 'Cut off since {time}',
      unknown: 'Away since {time}',
    },
  },
  several: {
    main: 'PC that answers',
    whichever: 'whichever answers',
    asleep: 'When it does not answer',
    policy: {
      wait: 'wait for it',
      another: 'let another answer now',
      ask: 'ask me',
    },
    title: '{node} does not answer',
    text: '{other} can answer now, with {model}. Or the question waits until {node} is back.',
    textPlain: '{other} can answer now. Or the question waits until {node} is back.',
    wait: 'Wait for {node}',
    now: 'Let {other} answer now',
    again: 'Ask {node} too',
    instead: 'Let {other} answer instead',
  },
}

export type NetworkMessages = typeof enNetwork
