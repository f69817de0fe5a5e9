"""A device that is disconnected loses what it holds open, at the node too, within a second (rule K9)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from tests.inference_node.asking import token_of
from tests.inference_node.running_node import MESSAGE_PACK
from tests.sync_server.device import code_of

if TYPE_CHECKING:
    from tests.inference_node.asking import Asking
    from tests.inference_node.running_node import RunningNode
    from tests.inference_node.scripted_engine import Script


async def test_K9_a_revoked_device_is_cut_off_in_mid_answer(
    asking: Asking, joined_node: RunningNode, script: Script
) -> None:
    script.held = True
    phone = await asyncio.to_thread(asking.device.sibling)
    tokens = {device: await asyncio.to_thread(token_of, joined_node, device) for device in (asking.device, phone)}
    laptop_headers, phone_headers = (
        {**MESSAGE_PACK, "Authorization": f"Bearer {tokens[device]}"} for device in (asking.device, phone)
    )
    body = joined_node.request("Tell me.")
    content = msgspec.msgpack.encode(body)
    started = await joined_node.http.post(f"{joined_node.url}/v1/answers", content=content, headers=phone_headers)
    assert started.status_code == 200
    script.say("One ", "two ")
    events = f"{joined_node.url}/v1/answers/{body.answer.hex()}/events"
    async with (
        joined_node.http.stream("GET", events, headers=laptop_headers) as kept,
        joined_node.http.stream("GET", events, headers=phone_headers) as cut,
    ):
        reading, cutting = kept.aiter_text(), cut.aiter_text()
        assert "started" in await anext(reading)
        assert "started" in await anext(cutting)
        gone = asyncio.create_task(to_its_end(cutting))
        path = f"/api/v1/devices/{phone.session.device_id}"
        assert (await asyncio.to_thread(asking.device.request, "DELETE", path)).status_code == 204
        async with asyncio.timeout(20):
            with pytest.raises(httpx.RemoteProtocolError):
                await gone
        # Nobody else's stream, and not the answer itself, ends with it.
        script.say("three.")
        script.finish()
        rest = await to_its_end(reading)
    assert "three" in rest
    assert "ended" in rest
    for call in (
        joined_node.http.get(events, headers=phone_headers),
        joined_node.http.post(f"{joined_node.url}/v1/answers", content=content, headers=phone_headers),
        joined_node.http.get(f"{joined_node.url}/v1/status", headers=phone_headers),
    ):
        assert code_of(await call) == (401, "device_revoked")
    assert (await joined_node.http.get(f"{joined_node.url}/v1/status", headers=laptop_headers)).is_success


async def to_its_end(pieces: object) -> str:
    """Read a stream up to its end and return the text."""
    return "".join([piece async for piece in pieces])  # type: ignore[attr-defined]  # httpx names no type for it
