"""What can go wrong while somebody waits for an answer, and how it is made to."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tests.tunnel.fault_proxy import Mode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.chaos.house import House
    from tests.chaos.phone import Sent
    from tests.tunnel.fault_proxy import FaultProxy


class Fault(StrEnum):
    """One thing that goes wrong. Networks stay as they are until they are healed; who is killed starts again."""

    DIRECT_CLOSED = "way to the PC closed"
    DIRECT_RESET = "way to the PC reset"
    DIRECT_HOLE = "way to the PC silent"
    DIRECT_CUT = "way to the PC cut after n bytes"
    DIRECT_SLICED = "way to the PC in slices of n bytes"
    DIRECT_UNREAD = "phone reads nothing from the PC"
    WIFI_GONE = "Wi-Fi gone, and another network"
    WIFI_BACK = "Wi-Fi back"
    AWAY_CLOSED = "way to the server closed"
    AWAY_RESET = "way to the server reset"
    AWAY_HOLE = "way to the server silent"
    AWAY_CUT = "way to the server cut after n bytes"
    AWAY_SLICED = "way to the server in slices of n bytes"
    AWAY_UNREAD = "phone reads nothing from the server"
    TUNNEL_CLOSED = "tunnel closed"
    TUNNEL_RESET = "tunnel reset"
    TUNNEL_HOLE = "tunnel silent"
    TUNNEL_CUT = "tunnel cut after n bytes"
    TUNNEL_SLICED = "tunnel in slices of n bytes"
    WEBSOCKET_REFUSED = "WebSockets refused"
    WEBSOCKET_SWALLOWED = "WebSockets swallowed"
    WEBSOCKET_CUT = "WebSockets cut after 64 KB"
    WEBSOCKET_BACK = "WebSockets work again"
    PC_MOVED = "PC on another network"
    EVERYTHING_CLOSED = "all ways closed"
    SERVER_KILLED = "server killed"
    NODE_KILLED = "node killed"
    ENGINE_KILLED = "engine killed"
    DATABASE_KILLED = "database killed"
    STOP = "stop pressed"
    RELOAD = "page reloaded"
    WAKE = "page shown again"


# Who draws, draws these so often. What takes seconds to be noticed is drawn rarely, or 1,000 runs would take hours.
WEIGHTS: dict[Fault, int] = dict.fromkeys(Fault, 8) | {
    Fault.DIRECT_HOLE: 2,
    Fault.AWAY_HOLE: 2,
    Fault.TUNNEL_HOLE: 2,
    Fault.DIRECT_UNREAD: 2,
    Fault.AWAY_UNREAD: 2,
    Fault.WEBSOCKET_SWALLOWED: 2,
    Fault.SERVER_KILLED: 3,
    Fault.NODE_KILLED: 3,
    Fault.ENGINE_KILLED: 4,
    Fault.STOP: 4,
    # Where it is a process, and nowhere else: see `story.draw`.
    Fault.DATABASE_KILLED: 0,
}

# After these the engine says nothing more of that generation.
ENDING = frozenset({Fault.NODE_KILLED, Fault.ENGINE_KILLED, Fault.STOP})

SIXTY_FOUR_KILOBYTES = 64 * 1024


async def strike(fault: Fault, house: House, amount: int, sent: Sent | None) -> None:
    """Make it happen, now. `amount` is the n of its name; without `sent`, nothing has been asked yet."""
    if fault is Fault.STOP:
        if sent is not None:
            await house.phone.stop(sent.answer)
    elif fault is Fault.ENGINE_KILLED:
        house.kill_engines()
    else:
        await STRIKES[fault](house, amount)


def _closed(*proxies: FaultProxy) -> None:
    for proxy in proxies:
        proxy.mode = Mode.CLOSED
        proxy.cut()


def _silent(proxy: FaultProxy) -> None:
    proxy.mode = Mode.BLACK_HOLE
    proxy.freeze()


def _sliced(proxy: FaultProxy, size: int) -> None:
    # A byte at a time would keep a core busy and show nothing else.
    proxy.slice_bytes = max(16, size % 512)


def _websockets(proxy: FaultProxy, mode: Mode, most_bytes: int | None = None) -> None:
    proxy.mode, proxy.most_bytes = mode, most_bytes
    proxy.cut()


async def _wifi_gone(house: House, _: int) -> None:
    _closed(house.direct)
    await house.phone.change_network()


async def _wifi_back(house: House, _: int) -> None:
    house.direct.heal()
    await house.phone.change_network()


def _now(act: Callable[[House, int], object]) -> Callable[[House, int], Awaitable[None]]:
    async def do(house: House, amount: int) -> None:
        act(house, amount)

    return do


STRIKES: dict[Fault, Callable[[House, int], Awaitable[None]]] = {
    Fault.DIRECT_CLOSED: _now(lambda house, _: _closed(house.direct)),
    Fault.DIRECT_RESET: _now(lambda house, _: house.direct.cut()),
    Fault.DIRECT_HOLE: _now(lambda house, _: _silent(house.direct)),
    Fault.DIRECT_CUT: _now(lambda house, amount: house.direct.cut_after(amount)),
    Fault.DIRECT_SLICED: _now(lambda house, amount: _sliced(house.direct, amount)),
    Fault.DIRECT_UNREAD: _now(lambda house, _: house.direct.freeze(only_down=True)),
    Fault.WIFI_GONE: _wifi_gone,
    Fault.WIFI_BACK: _wifi_back,
    Fault.AWAY_CLOSED: _now(lambda house, _: _closed(house.away)),
    Fault.AWAY_RESET: _now(lambda house, _: house.away.cut()),
    Fault.AWAY_HOLE: _now(lambda house, _: _silent(house.away)),
    Fault.AWAY_CUT: _now(lambda house, amount: house.away.cut_after(amount)),
    Fault.AWAY_SLICED: _now(lambda house, amount: _sliced(house.away, amount)),
    Fault.AWAY_UNREAD: _now(lambda house, _: house.away.freeze(only_down=True)),
    Fault.TUNNEL_CLOSED: _now(lambda house, _: _closed(house.tunnel)),
    Fault.TUNNEL_RESET: _now(lambda house, _: house.tunnel.cut()),
    Fault.TUNNEL_HOLE: _now(lambda house, _: _silent(house.tunnel)),
    Fault.TUNNEL_CUT: _now(lambda house, amount: house.tunnel.cut_after(amount)),
    Fault.TUNNEL_SLICED: _now(lambda house, amount: _sliced(house.tunnel, amount)),
    Fault.WEBSOCKET_REFUSED: _now(lambda house, _: _websockets(house.tunnel, Mode.WEBSOCKETS_REFUSED)),
    Fault.WEBSOCKET_SWALLOWED: _now(lambda house, _: _websockets(house.tunnel, Mode.WEBSOCKETS_SWALLOWED)),
    Fault.WEBSOCKET_CUT: _now(lambda house, _: _websockets(house.tunnel, Mode.OPEN, SIXTY_FOUR_KILOBYTES)),
    Fault.WEBSOCKET_BACK: _now(lambda house, _: _websockets(house.tunnel, Mode.OPEN)),
    Fault.PC_MOVED: _now(lambda house, _: house.move_pc()),
    Fault.EVERYTHING_CLOSED: _now(lambda house, _: _closed(*house.proxies)),
    Fault.SERVER_KILLED: lambda house, _: house.kill_and_start(house.server),
    Fault.NODE_KILLED: lambda house, _: house.kill_and_start(house.node),
    Fault.DATABASE_KILLED: lambda house, _: house.kill_database(),
    Fault.RELOAD: lambda house, _: house.phone.reload(),
    Fault.WAKE: lambda house, _: house.phone.wake(),
}
