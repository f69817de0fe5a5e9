"""What a node needs to verify tokens by itself, kept for the days when its server is away (rules K5, K7-K10)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from inference_node import clock
from inference_node.server.keyset import KeyRing, forget_times, shared_root
from inference_node.server.server_api import Unreachable
from shared import private_files
from shared.errors import Code, DomovoiError
from shared.jws import base64url, raw_public_key
from shared.key_sets import Revocation
from shared.limits import KEY_SET_LIFETIME_S, TOKEN_LEEWAY_S
from shared.tokens import node_audience
from tests.inference_node.authority import Authority
from tests.inference_node.running_node import new_id

if TYPE_CHECKING:
    from pathlib import Path

    from shared.wire import KeySet

NODE = "00" * 16
DAY_S = 86_400


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


def ring(path: Path, server: Server | None = None, root: bytes | None = None) -> KeyRing:
    used: Server = server or Server()
    return KeyRing(path, used, node_audience(NODE), root=root)  # type: ignore[arg-type]  # all that is used of it


async def refusal(keys: KeyRing, token: str) -> tuple[str, str]:
    with pytest.raises(DomovoiError) as refused:
        await keys.verify(token)
    return refused.value.code, refused.value.detail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyset.json"


@pytest.fixture
def authority(path: Path) -> Authority:
    """A server that this node has met."""
    authority = Authority(NODE)
    path.write_bytes(authority.kept())
    return authority


async def test_K5_keys_outlive_the_server_and_the_process(path: Path) -> None:
    server, authority = Server(), Authority(NODE)
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
async def test_K5_a_failed_fetch_refuses_the_unknown_key_alone(
    path: Path, authority: Authority, failure: Exception
) -> None:
    server = Server()
    server.answer = failure
    keys = ring(path, server)
    assert (await refusal(keys, Authority(NODE).token(new_id())))[0] == Code.TOKEN_INVALID
    await keys.verify(authority.token(new_id()))


async def test_a_new_key_is_fetched_but_strangers_do_not_make_us_ask_all_the_time(
    path: Path, authority: Authority
) -> None:
    server, old = Server(), authority.token(new_id())
    await ring(path).verify(old)
    authority.rotate()
    server.answer = authority.key_set(version=2)
    keys = ring(path, server)
    await keys.verify(authority.token(new_id()))
    assert (await refusal(keys, old))[0] == Code.TOKEN_INVALID
    for _ in range(20):
        await refusal(keys, Authority(NODE).token(new_id()))
    assert server.asked == 1


async def test_K7_only_what_the_pinned_root_signs_is_taken(path: Path, authority: Authority) -> None:
    server, foreign = Server(), Authority(NODE)
    keys = ring(path, server)
    for answer in [
        foreign.key_set(version=9),
        # A key set under the right root's name, and keys that are not in what it signed.
        msgspec.structs.replace(foreign.key_set(version=9), root=authority.key_set().root),
        msgspec.structs.replace(foreign.key_set(), root=authority.key_set().root, signed=""),
    ]:
        server.answer = answer
        if answer.signed:
            with pytest.raises(Unreachable):
                await keys.refresh()
        assert (await refusal(keys, foreign.token(new_id())))[0] == Code.TOKEN_INVALID
    await keys.verify(authority.token(new_id()))
    await ring(path).verify(authority.token(new_id()))


async def test_K7_a_shared_folder_says_which_root_is_meant(tmp_path: Path, path: Path, authority: Authority) -> None:
    """Who removes the server's keys has it make new ones; a node beside it then follows that."""
    fresh = Authority(NODE)
    (tmp_path / "enrolment").mkdir()
    assert shared_root(tmp_path) is None
    (tmp_path / "enrolment" / "server-root").write_text(base64url(raw_public_key(fresh.root.public_key())))
    keys = ring(path, root=shared_root(tmp_path))
    assert (await refusal(keys, authority.token(new_id())))[0] == Code.TOKEN_INVALID
    await keys.take(fresh.signed(), fresh.revoked(0))
    await keys.verify(fresh.token(new_id()))
    for nonsense in ("", "AAAA", base64url(bytes(32))):
        (tmp_path / "enrolment" / "server-root").write_text(nonsense)
        assert shared_root(tmp_path) is None


async def test_K8_a_rollback_is_refused(path: Path, authority: Authority) -> None:
    keys = ring(path)
    leaked = authority.token(new_id())
    before = authority.signed(version=5)
    await keys.take(before, "")
    authority.rotate()
    await keys.take(authority.signed(version=6), "")
    with pytest.raises(Unreachable, match="older"):
        await keys.take(before, "")
    for ring_now in (keys, ring(path)):
        assert (await refusal(ring_now, leaked))[0] == Code.TOKEN_INVALID
        await ring_now.verify(authority.token(new_id()))


async def test_K8_a_second_process_of_the_server_may_have_signed_the_same_version_earlier(
    path: Path, authority: Authority
) -> None:
    keys = ring(path)
    account, now = new_id(), int(time.time())
    token = authority.token(account, iat=now - 9)
    await keys.take(authority.signed(version=6), "")
    await keys.take(authority.signed(version=6, now_s=now - 60), authority.revoked(1, Revocation(account.hex(), now)))
    assert keys.now_s() >= now
    # What came with it counts.
    assert (await refusal(keys, token))[0] == Code.DEVICE_REVOKED
    await keys.verify(authority.token(new_id()))


async def test_K9_what_was_revoked_stays_so_over_restarts(path: Path, authority: Authority) -> None:
    account, now = new_id(), int(time.time())
    phone, laptop = (authority.token(account, did=did, iat=now - 9) for did in ("aa", "bb"))
    later = authority.token(account, did="aa", iat=now + 1)
    one = authority.token(new_id(), jti="one")
    keys, told = ring(path), []
    keys.on_revoked = lambda: told.append(1)
    await keys.take("", authority.revoked(7, Revocation(account.hex(), now, did="aa")))
    with pytest.raises(Unreachable):
        await keys.take("", Authority(NODE).revoked(99))
    # A list from before: whoever offers it wants the phone back.
    await keys.take("", authority.revoked(6))
    for ring_now in (keys, ring(path)):
        assert (await refusal(ring_now, phone))[0] == Code.DEVICE_REVOKED
        await ring_now.verify(laptop)
        await ring_now.verify(later)
        await ring_now.verify(one)
    claims = await keys.verify(one)
    everything = [Revocation(account.hex(), now), Revocation(claims.sub, now + 9, jti="one")]
    await keys.take("", authority.revoked(8, *everything))
    assert [(await refusal(keys, token))[0] for token in (phone, laptop, one)] == [Code.DEVICE_REVOKED] * 3
    await keys.verify(later)
    assert len(told) == 2


async def test_K10_time_only_moves_forward(path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ring(path)
    token = authority.token(new_id())
    await keys.verify(token)
    await keys.take(authority.signed(version=2, now_s=time.time() + 2 * DAY_S), "")
    monkeypatch.setattr(clock, "now_s", lambda: 1_000_000.0)
    for ring_now in (keys, ring(path)):
        assert (await refusal(ring_now, token))[0] == Code.TOKEN_EXPIRED
    # The server was wrong: its owner says so.
    monkeypatch.undo()
    assert forget_times(path)
    assert ring(path).trouble is not None
    again = ring(path)
    await again.take(authority.signed(version=1), "")
    await again.verify(token)
    assert not forget_times(path.with_name("nothing"))


async def test_K10_a_key_set_past_its_days_opens_nothing(
    path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ring(path)
    assert keys.trouble is None
    then = time.time() + KEY_SET_LIFETIME_S + TOKEN_LEEWAY_S
    monkeypatch.setattr(clock, "now_s", lambda: then)
    fresh = authority.token(new_id(), iat=int(then), nbf=int(then), exp=int(then) + 60)
    assert (await refusal(keys, fresh))[1] == keys.trouble
    await keys.take(authority.signed(version=1, now_s=then), "")
    await keys.verify(fresh)


async def test_a_node_that_has_met_nobody_says_so(path: Path) -> None:
    keys = ring(path)
    assert await refusal(keys, Authority(NODE).token(new_id())) == ("token_invalid", keys.trouble)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"root":"AA","key_set":"x.y.z"}', b'{"root":7}'])
async def test_a_damaged_file_is_asked_for_anew(path: Path, content: bytes) -> None:
    private_files.replace(path, content)
    server, authority = Server(), Authority(NODE)
    server.answer = authority.key_set()
    await ring(path, server).verify(authority.token(new_id()))


async def test_a_list_whose_key_is_trusted_no_more_does_not_lock_everybody_out(
    path: Path, authority: Authority
) -> None:
    await ring(path).take("", authority.revoked(3))
    authority.rotate()
    await ring(path).take(authority.signed(version=2), "")
    await ring(path).verify(authority.token(new_id()))
