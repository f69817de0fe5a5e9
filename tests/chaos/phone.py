"""The app's own network code in a process of its own (`pwa/tests/chaos/phone.ts`), and what it says of itself."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, convert

from tests.chaos.process import Part
from tests.structure.tracked import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NODE_PROGRAM = shutil.which("node") or "node"
START = ROOT / "pwa" / "tests" / "chaos" / "start.js"
ANSWERS_WITHIN_S = 60.0
LOOK_EVERY_S = 0.01


class Sent(Struct):
    """A question: the ids that the phone has given, in hex."""

    conversation: str
    message: str
    answer: str


class View(Struct, rename="camel"):
    """What a person sees of an answer: its state and text as they are stored, and the text while it comes.

    `unacknowledged` is how many changes the server has not taken yet.
    """

    state: str | None
    code: str | None
    is_final: bool
    body: str
    live: str | None
    has_ended: bool
    unacknowledged: int
    link: str
    problem: str | None
    routes: list[str]
    attempts: list[str]
    # Calls that wait for the head of an answer.
    open: list[str]


class Seen(NamedTuple):
    """How far the live text of an answer has come on the phone, and by which route."""

    event: int
    characters: int
    route: str


class Phone:
    """One phone. `troubles` is what its console says and nobody has expected."""

    def __init__(self, origin: str, places: Mapping[str, int], log: Path) -> None:
        setting = json.dumps({"origin": origin, "places": dict(places)})
        self._part = Part((NODE_PROGRAM, str(START), setting), log)
        self._results: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._listening: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.seen: dict[str, Seen] = {}
        # The routes by which texts came, in order.
        self.routes: list[str] = []
        self.troubles: list[str] = []

    async def start(self) -> None:
        """Start it with nothing stored."""
        await self._part.start()
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """End it."""
        await self._part.kill()
        if self._listening is not None:
            await self._listening

    async def register(self, setup_code: str) -> None:
        await self._do("register", setupCode=setup_code)

    async def ask(self, text: str) -> Sent:
        """Write a question; the network learns of it from the outbox."""
        self.seen.clear()
        self.routes.clear()
        return convert(await self._do("ask", text=text), Sent)

    async def stop(self, answer: str) -> None:
        await self._do("stop", answer=answer)

    async def reload(self) -> None:
        """Close the page and open it again over what is stored."""
        self.seen.clear()
        await self._do("reload")

    async def wake(self) -> None:
        """Come back before somebody's eyes."""
        await self._do("wake")

    async def change_network(self) -> None:
        """Be told by the browser that it is on a network again."""
        await self._do("networkChanged")

    async def best_routes(self) -> list[str]:
        """Return the kind of route to each node that there is one to."""
        return list(await self._do("routes"))

    async def look(self, sent: Sent) -> View:
        return convert(await self._do("look", answer=sent.answer, conversation=sent.conversation), View)

    async def until_news(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait until what the phone has said makes it so; return False if that is not within the time."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _do(self, name: str, **more: object) -> Any:
        self._part.write_line(json.dumps({"do": name, **more}))
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            result = await self._results.get()
        assert result.get("done") == name, result
        return result["result"]

    async def _listen(self) -> None:
        while line := await self._part.read_line():
            said = json.loads(line)
            if "seen" in said:
                self.seen[said["seen"]] = Seen(said["event"], said["characters"], said["route"])
                if said["route"] not in self.routes[-1:]:
                    self.routes.append(said["route"])
            elif "trouble" in said:
                self.troubles.append(said["trouble"])
            else:
                self._results.put_nowait(said)
            self._news.set()
        self._results.put_nowait({"failed": "everything", "error": self._part.tail()})
