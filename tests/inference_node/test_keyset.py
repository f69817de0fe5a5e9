"""Keys of the server, kept for the days when it is away (rule K5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from inference_node.server.keyset import KeyRing
from inference_node.server.server_api import Unreachable
from shared.errors import Code, DomovoiError
from shared.tokens import node_audience
from shared.wire import KeySet
from tests.inference_node.authority import Authority
from tests.inference_node.running_node import new_id

if TYPE_CHECKING:
    from pathlib import Path

NODE = "00" * 16


class Server:
    """What the key ring sees of a server."""

    def __init__(self) -> None:
        self.answer: KeySet | Exception = Unreachable("away")
        self.asked = 0

    async def key_set(self) -> KeySet:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ring(path: Path, server: Server) -> KeyRing:
    return KeyRing(path, server, node_audience(NODE))  # type: ignore[arg-type]  # all that is used of it


async def test_K5_keys_outlive_the_server_and_the_process(tmp_path: Path) -> None:
    path, server, authority = tmp_path / "keyset.json", Server(), Authority(NODE)
    server.answer = authority.key_set()
    account = new_id()
    assert (await ring(path, server).verify(authority.token(account))).sub == account.hex()
    server.answer = Unreachable("away")
    again = ring(path, server)
    assert (await again.verify(authority.token(account))).sub == account.hex()
    with pytest.raises(Unreachable):
        await again.refresh()
    assert (await again.verify(authority.token(account))).sub == account.hex()


@pytest.mark.parametrize("failure", [Unreachable("away"), DomovoiError(Code.INTERNAL)])
async def test_K5_a_failed_fetch_refuses_the_unknown_key_alone(tmp_path: Path, failure: Exception) -> None:
    path, server, authority = tmp_path / "keyset.json", Server(), Authority(NODE)
    path.write_bytes(msgspec.json.encode(authority.key_set()))
    server.answer = failure
    keys = ring(path, server)
    with pytest.raises(DomovoiError) as refused:
        await keys.verify(Authority(NODE).token(new_id()))
    assert refused.value.code == Code.TOKEN_INVALID
    await keys.verify(authority.token(new_id()))


async def test_a_new_key_is_fetched_but_strangers_do_not_make_us_ask_all_the_time(tmp_path: Path) -> None:
    path, server, old, new = tmp_path / "keyset.json", Server(), Authority(NODE), Authority(NODE)
    path.write_bytes(msgspec.json.encode(old.key_set()))
    server.answer = new.key_set()
    keys = ring(path, server)
    await keys.verify(new.token(new_id()))
    for _ in range(20):
        with pytest.raises(DomovoiError):
            await keys.verify(Authority(NODE).token(new_id()))
    assert server.asked == 1


async def test_a_key_under_another_name_is_refused(tmp_path: Path) -> None:
    path, server, authority = tmp_path / "keyset.json", Server(), Authority(NODE)
    good = authority.key_set()
    path.write_bytes(msgspec.json.encode(good))
    forged = msgspec.structs.replace(Authority(NODE).key_set().keys[0], kid=good.keys[0].kid)
    server.answer = KeySet(good.issuer, [forged])
    keys = ring(path, server)
    with pytest.raises(Unreachable):
        await keys.refresh()
    await keys.verify(authority.token(new_id()))
