"""A server that is restarted under the streams of many (rules N7, N13, S3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.end_to_end.household import wait_until
from tests.network.streams import Watchers

if TYPE_CHECKING:
    from tests.network.machines import Machine
    from tests.network.town import Town
    from tests.nginx import Nginx

STREAMS = 20
# Four at once are answered; the others wait on streams that are as open.
ANSWER_TOKENS = 24


def test_S3_twenty_streams_outlive_the_server(town: Town, door: Nginx, vps: Machine, pc: Machine) -> None:
    before = pc.runs_started()
    watchers = Watchers(town.laptop, door, "Study PC", STREAMS, ANSWER_TOKENS)
    with pc.slow_engine():
        watchers.start()
        wait_until(lambda: all(stream.is_open for stream in watchers.streams), "twenty streams")
        wait_until(lambda: any(stream.text for stream in watchers.streams), "the first word")
        vps.kill("server")
        wait_until(lambda: all(stream.cuts for stream in watchers.streams), "the end of the streams")
        vps.start("server")
    watchers.join()
    assert pc.runs_started() == before + STREAMS
    written = pc.bodies()
    for stream in watchers.streams:
        assert stream.hash == written[stream.answer.hex()]
