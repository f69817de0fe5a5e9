"""A reader may go away after any byte. The node goes on, or stops, as it should, and nothing stays behind."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from inference_node.endpoints.api_keys import ApiKeys
from shared.runs import Ended, Text
from tests.effort import SLOW
from tests.inference_node.running_node import RunningNode
from tests.inference_node.scripted_engine import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = "one two three four five six seven eight"
SEED = 20261127


def cuts(most: int, sample: int = 25) -> list[int]:
    """Return after how many bytes to hang up: after every one, or after some of them."""
    return list(range(most)) if SLOW else sorted({0, 1, most, *Random(SEED).choices(range(most), k=sample)})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningNode]:
    script = Script(answer=WORDS, slots=2)
    folder: Path = tmp_path_factory.mktemp("node")
    node = RunningNode(folder, make_engine=script.make_engine)
    node.add_scripted_model()
    await node.grant(node.account)
    await node.start()
    yield node
    await node.stop()


async def read_and_leave(node: RunningNode, request: bytes, cut: int) -> bytes:
    """Send a request, read so many bytes of the answer or all of it, and hang up."""
    host, _, port = node.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    received = b""
    while len(received) < cut and (chunk := await reader.read(cut - len(received))):
        received += chunk
    writer.transport.abort()
    return received


def request(node: RunningNode, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    host = node.url.removeprefix("http://")
    every = {"Host": host, "Connection": "close", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def until_idle(node: RunningNode) -> None:
    async def is_idle() -> bool:
        status = await node.status()
        return (status.generating, status.queue) == (0, 0) and all(not model.generating for model in status.loaded)

    await node.until(is_idle)


@pytest.mark.parametrize("cut", cuts(2500))
async def test_S3_a_watcher_cut_off_after_any_byte_gets_the_rest(served: RunningNode, cut: int) -> None:
    answer = await served.ask()
    path = f"/v1/answers/{answer.hex()}/events"
    seen = await read_and_leave(served, request(served, "GET", path, served.bearer), cut)
    # The last whole event of what came is what a browser would name.
    complete = seen.rpartition(b"\n\n")[0].rpartition(b"id: ")[2].partition(b"\n")[0]
    last = int(complete.rpartition(b":")[2]) if b":" in complete else 0
    texts = [part.split(b'"text":"')[1].split(b'"')[0].decode() for part in seen.split(b"\n\n") if b'"text":"' in part]
    before = "".join(texts[: sum(b"event: text" in part for part in seen.split(b"\n\n")[:-1])])
    rest = [event.event for event in await served.whole(answer, after=last)]
    if rest or last == 0:
        assert before + "".join(event.text for event in rest if isinstance(event, Text)) == WORDS
        assert sum(isinstance(event, Ended) for event in rest) == 1
    await until_idle(served)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("cut", cuts(2500, 12))
async def test_a_program_that_hangs_up_after_any_byte_frees_the_engine(
    served: RunningNode, cut: int, is_streamed: bool
) -> None:
    key = ApiKeys(served.settings.folder / "api-keys").create("test")
    body = b'{"messages":[{"role":"user","content":"Hi"}],"stream":%s}' % (b"true" if is_streamed else b"false")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    await read_and_leave(served, request(served, "POST", "/v1/chat/completions", headers, body), cut)
    await until_idle(served)


@pytest.mark.parametrize("cut", cuts(500))
async def test_a_request_cut_off_after_any_byte_leaves_nothing_behind(served: RunningNode, cut: int) -> None:
    whole = request(served, "POST", "/v1/answers", served.bearer, b"{}" * 50)
    await read_and_leave(served, whole[:cut], 0)
    assert await served.is_healthy()
    await until_idle(served)
