"""Reading an SSE stream as the app does."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.sync_server.device import Device


class Event(NamedTuple):
    """One event; `data` is its JSON."""

    name: str
    data: Any


class EventStream:
    """An open stream. Iterating ends when the server closes it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._events = parse(response.iter_lines())

    def next(self, name: str) -> Any:
        """Return the data of the next event of that name."""
        for event in self._events:
            if event.name == name:
                return event.data
        raise AssertionError(f"the stream ended before {name}")

    def first(self) -> Event:
        """Return the next event, whatever it is."""
        return next(self._events)

    def rest(self) -> list[Event]:
        """Return what comes until the server closes the stream."""
        return list(self._events)


def parse(lines: Iterator[str]) -> Iterator[Event]:
    """Yield the events; comments are passed over."""
    name, data = "message", []
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not line and data:
            yield Event(name, json.loads("\n".join(data)))
            name, data = "message", []


@contextmanager
def events_of(device: Device) -> Iterator[EventStream]:
    """Open the device's event stream."""
    with device.http.stream("GET", "/api/v1/events", headers=device.bearer) as response:
        assert response.status_code == 200, response.read()
        yield EventStream(response)
