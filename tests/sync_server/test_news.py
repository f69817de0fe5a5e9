from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from shared.limits import MAX_INLINE_NEWS_BYTES, TOKEN_LIFETIME_S
from shared.wire import LogNews, Node, Nodes
from sync_server import clock
from sync_server.log import news
from sync_server.log.news import Hub, Mailbox
from tests.sync_server.device import Device, code_of
from tests.sync_server.event_stream import events_of

if TYPE_CHECKING:
    import pytest

    from tests.sync_server.running_server import StartServer


def test_a_stream_begins_with_hello_and_presence(device: Device) -> None:
    device.write()
    with events_of(device) as events:
        headers = events.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["x-accel-buffering"] == "no"
        assert "no-transform" in headers["cache-control"]
        assert "content-encoding" not in headers
        hello = events.next("hello")
        assert (hello["epoch"], hello["head"]) == (device.epoch, 1)
        assert isinstance(events.next("presence")["nodes"], list)


def test_L13_small_news_carries_its_changes_to_every_other_device(device: Device) -> None:
    """Who wrote them has them."""
    others = [device.sibling(), device.sibling()]
    with events_of(device) as mine, events_of(others[0]) as first, events_of(others[1]) as second:
        for events in (mine, first, second):
            events.next("presence")
        change = device.write(b"\xa5hello")
        for events in (mine, first, second):
            log = events.next("log")
            assert (log["epoch"], log["prev_head"], log["head"]) == (device.epoch, 0, 1)
            if events is mine:
                assert log["changes"] is None
                continue
            [pulled] = log["changes"]
            assert base64.b64decode(pulled[0]) == change.clk
            assert base64.b64decode(pulled[6]) == change.value
            assert pulled[7] == 1


def test_L13_large_news_asks_for_a_pull(device: Device) -> None:
    with events_of(device) as events:
        device.write(bytes(MAX_INLINE_NEWS_BYTES))
        log = events.next("log")
    assert (log["prev_head"], log["head"], log["changes"]) == (0, 1, None)


def test_L13_news_of_pushes_at_once_join_without_gaps(device: Device) -> None:
    writers = [device, *(device.sibling() for _ in range(3))]
    with events_of(device) as events:
        events.next("presence")
        with ThreadPoolExecutor(len(writers)) as threads:
            list(threads.map(lambda writer: [writer.write() for _ in range(5)], writers))
        heard = [events.next("log") for _ in range(20)]
    assert sorted(log["prev_head"] for log in heard) == list(range(20))
    assert sorted(log["head"] for log in heard) == list(range(1, 21))


def test_a_replay_and_a_loser_are_no_news(device: Device) -> None:
    loser, winner = device.change(eid=bytes(16)), device.change(eid=bytes(16))
    with events_of(device) as events:
        device.send(device.batch([winner]))
        device.push(winner)
        device.push(loser)
        device.write()
        assert [events.next("log")["head"] for _ in range(2)] == [1, 2]


def test_other_accounts_hear_nothing(device: Device, stranger: Device) -> None:
    with events_of(stranger) as events:
        device.write()
        stranger.write()
        assert events.next("log")["head"] == 1


def test_revoking_a_device_closes_its_streams(device: Device) -> None:
    other = device.sibling()
    with events_of(other) as first, events_of(other) as second, events_of(device) as mine:
        for events in (first, second):
            events.next("presence")
        device.request("DELETE", f"/api/v1/devices/{other.session.device_id}")
        assert first.rest() == []
        assert second.rest() == []
        device.write()
        mine.next("log")
    assert code_of(other.request("GET", "/api/v1/events")) == (401, "device_revoked")


def test_a_stream_ends_with_its_token(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    almost_ms = clock.now_ms() + TOKEN_LIFETIME_S * 1000 - 1500
    monkeypatch.setattr(clock, "now_ms", lambda: almost_ms)
    with events_of(device) as events:
        assert [event.name for event in events.rest()] == ["hello", "presence"]


def test_stopping_the_server_ends_the_streams(start_server: StartServer) -> None:
    running = start_server()
    owner = running.first_account()
    with events_of(owner) as events:
        events.next("presence")
        running.ask_to_stop()
        assert events.rest() == []


def test_a_stream_that_is_not_read_costs_the_others_nothing(device: Device) -> None:
    other = device.sibling()
    with events_of(other):
        for _ in range(3 * news.MAX_WAITING):
            device.write(bytes(8000))
    assert device.pull(since=3 * news.MAX_WAITING - 1).head == 3 * news.MAX_WAITING


# The hub itself, where the order of things is known.


def log_news(prev_head: int) -> LogNews:
    return LogNews(1, prev_head, prev_head + 1, [])


async def test_a_full_mailbox_becomes_one_order_to_pull() -> None:
    mailbox = Mailbox()
    for number in range(news.MAX_WAITING + 5):
        mailbox.put(log_news(number))
    taken = await mailbox.take()
    assert taken is not None
    assert taken[0] == LogNews(1, 0, news.MAX_WAITING + 1, None)
    assert [item.head for item in taken if isinstance(item, LogNews)][-1] == news.MAX_WAITING + 5


async def test_only_the_latest_presence_waits() -> None:
    mailbox = Mailbox()
    for name in ("old", "new"):
        mailbox.put(Nodes([Node("0" * 32, name, False, 0, None, "use")]))
    [latest] = await mailbox.take() or []
    assert isinstance(latest, Nodes)
    assert latest.nodes[0].name == "new"


async def test_a_closed_mailbox_ends_its_reader() -> None:
    mailbox = Mailbox()
    reader = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    mailbox.close()
    assert await reader is None


def test_nobody_is_kept_after_leaving() -> None:
    hub = Hub()
    heard: list[object] = []
    with hub.listening(b"a", heard.append), hub.listening(b"a", heard.append):
        hub.publish(b"a", log_news(0))
    hub.publish(b"a", log_news(1))
    assert heard == [log_news(0)] * 2
