from __future__ import annotations

import pytest

from shared.tunnel.heartbeat import Health, Heartbeat


def life(heartbeat: Heartbeat, until: float, now: float = 0.0) -> list[tuple[float, str]]:
    """Let time pass without a byte, and return what happened when, looking only when it asks to be looked at."""
    seen: list[tuple[float, str]] = []
    before = Health.ALIVE
    while now <= until:
        if heartbeat.take_ping(now):
            seen.append((now, "PING"))
        if (health := heartbeat.health(now)) is not before:
            seen.append((now, health.name))
            before = health
        if health is Health.DEAD:
            break
        assert heartbeat.next_at(now) > now, "would be asked again and again"
        now = heartbeat.next_at(now)
    return seen


def test_N12_an_idle_tunnel_asks_at_15_s_and_is_dead_at_25_s() -> None:
    assert life(Heartbeat(0), 100) == [(15, "PING"), (22, "PING"), (22, "SUSPECT"), (25, "DEAD")]


def test_N12_with_streams_it_asks_at_5_s_and_is_dead_at_9_s() -> None:
    heartbeat = Heartbeat(0)
    heartbeat.set_active(True, 0)
    assert life(heartbeat, 100) == [(5, "PING"), (6, "PING"), (6, "SUSPECT"), (9, "DEAD")]


def test_N12_any_byte_is_life() -> None:
    heartbeat = Heartbeat(0)
    for now in range(0, 200, 14):
        heartbeat.heard(now)
        assert life(heartbeat, now + 14, now) == []


def test_N12_after_a_wake_it_asks_at_once_and_waits_3_s() -> None:
    heartbeat = Heartbeat(0)
    heartbeat.woke(2)
    assert life(heartbeat, 100, 2) == [(2, "PING"), (2, "SUSPECT"), (5, "DEAD")]
    heartbeat.heard(4)
    assert heartbeat.health(6) is Health.ALIVE


@pytest.mark.parametrize("silent", [6.0, 9.0, 14.0])
def test_N12_a_stream_after_a_long_silence_asks_at_once_and_gives_time_to_answer(silent: float) -> None:
    heartbeat = Heartbeat(0)
    heartbeat.set_active(True, silent)
    assert life(heartbeat, 100, silent) == [
        (silent, "PING"),
        (silent + 6, "PING"),
        (silent + 6, "SUSPECT"),
        (silent + 9, "DEAD"),
    ]


def test_N12_a_stream_does_not_put_off_the_end_of_an_idle_silence() -> None:
    heartbeat = Heartbeat(0)
    assert heartbeat.take_ping(15)
    heartbeat.set_active(True, 20)
    assert heartbeat.health(25) is Health.DEAD


def test_N12_a_server_may_ask_for_more_pings_but_not_for_fewer() -> None:
    assert life(Heartbeat(0, ping_idle_s=8), 20)[0] == (8, "PING")
    assert life(Heartbeat(0, ping_idle_s=600), 20)[0] == (15, "PING")
