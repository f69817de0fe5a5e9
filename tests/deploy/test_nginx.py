"""What the deployed nginx does to requests, tried on a small application behind it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect

from shared.bounded_http import SAFE_HEADERS
from shared.errors import Code, DomovoiError
from shared.limits import MAX_ANSWER_BODY_BYTES
from tests import nginx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from tests.nginx import Nginx

WITHIN_S = 10

pytestmark = pytest.mark.skipif(
    nginx.nginx_path() is None, reason="no nginx on this machine: install nginx-light to run this test"
)


class Application:
    """Says who called; sends a second event only after the first was seen; echoes one WebSocket message."""

    def __init__(self) -> None:
        self.first_seen = asyncio.Event()
        routes = [
            Route("/caller", self.caller, methods=["GET", "POST"]),
            Route("/api/v1/events", self.events),
            Route("/relay/{rest:path}", self.events),
            WebSocketRoute("/tunnel", self.tunnel),
        ]
        self.asgi = Starlette(routes=routes)

    async def caller(self, request: Request) -> JSONResponse:
        size = len(await request.body())
        headers = {"strict-transport-security": "max-age=1", "content-security-policy": "the server's"}
        return JSONResponse(
            {"url": str(request.url), "for": request.headers["x-forwarded-for"], "size": size}, 200, headers
        )

    async def events(self, _: Request) -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            await self.first_seen.wait()
            yield "data: 2\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def tunnel(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_bytes(await websocket.receive_bytes())
        await websocket.close()


@asynccontextmanager
async def served(application: Application) -> AsyncIterator[int]:
    """Serve it as the sync server is served; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        configuration = uvicorn.Config(application.asgi, log_level="warning", ws="websockets-sansio", lifespan="off")
        server = uvicorn.Server(configuration)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
async def application() -> Application:
    return Application()


@pytest.fixture
async def front(application: Application, tmp_path: Path) -> AsyncIterator[Nginx]:
    async with served(application) as port:
        running = nginx.prepare(tmp_path, port=free_port(), plain_port=free_port(), server_port=port)
        running.start()
        yield running
        running.stop()


def trusting(front: Nginx) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=front.certificate)


@pytest.fixture
async def client(front: Nginx) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=front.url, verify=trusting(front), trust_env=False, timeout=WITHIN_S
    ) as opened:
        yield opened


async def test_the_server_learns_the_real_caller_and_not_a_claimed_one(client: httpx.AsyncClient) -> None:
    said = (await client.get("/caller", headers={"x-forwarded-for": "203.0.113.9"})).json()
    assert said["for"] == "127.0.0.1"
    assert said["url"] == str(client.base_url.join("/caller"))


async def test_every_answer_asks_for_https_from_then_on_once(client: httpx.AsyncClient) -> None:
    for path in ("/caller", "/nothing-there"):
        answer = await client.get(path)
        assert answer.headers.get_list("strict-transport-security") == ["max-age=31536000"]


async def test_plain_http_is_sent_to_https(front: Nginx) -> None:
    async with httpx.AsyncClient(trust_env=False) as plain:
        answer = await plain.get(f"http://localhost:{front.plain_port}/c/1?x=2")
    assert (answer.status_code, answer.headers["location"]) == (301, "https://localhost/c/1?x=2")


async def test_http_2_is_spoken(front: Nginx) -> None:
    context = trusting(front)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def agreed() -> str | None:
        with (
            socket.create_connection(("127.0.0.1", front.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return secured.selected_alpn_protocol()

    assert await asyncio.to_thread(agreed) == "h2"


@pytest.mark.parametrize("path", ["/api/v1/events", "/relay/0011/v1/answers/22/events"])
async def test_events_pass_one_by_one(client: httpx.AsyncClient, application: Application, path: str) -> None:
    async with asyncio.timeout(WITHIN_S), client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
        assert "content-encoding" not in answer.headers
        lines = answer.aiter_lines()
        assert await anext(lines) == "data: 1"
        application.first_seen.set()
        assert [line async for line in lines if line] == ["data: 2"]


async def test_the_tunnel_is_a_websocket(front: Nginx) -> None:
    async with connect(f"wss://localhost:{front.port}/tunnel", ssl=trusting(front), proxy=None) as tunnel:
        await tunnel.send(b"frame")
        assert await tunnel.recv() == b"frame"


async def test_a_body_too_large_gets_the_problem_the_server_would_send(client: httpx.AsyncClient) -> None:
    accepted = await client.post("/caller", content=bytes(MAX_ANSWER_BODY_BYTES))
    assert accepted.json()["size"] == MAX_ANSWER_BODY_BYTES
    refused = await client.post("/caller", content=bytes(MAX_ANSWER_BODY_BYTES + 1))
    expect_problem(refused, Code.BODY_TOO_LARGE)


async def test_one_address_holds_so_many_streams_and_is_told_so(
    front: Nginx, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    configuration = (tmp_path / "domovoi.conf").read_text("utf-8")
    (tmp_path / "domovoi.conf").write_text(
        configuration.replace("limit_conn domovoi_callers 200;", "limit_conn domovoi_callers 2;")
    )
    front.stop()
    front.start()
    async with AsyncExitStack() as held, httpx.AsyncClient(verify=trusting(front), trust_env=False) as other:
        for _ in range(2):
            await held.enter_async_context(client.stream("GET", "/api/v1/events"))
        expect_problem(await other.get(f"{front.url}/caller"), Code.TOO_BUSY)


async def test_what_nginx_itself_answers_carries_headers_too_and_the_servers_own_once(
    client: httpx.AsyncClient,
) -> None:
    too_large = await client.post("/caller", content=bytes(MAX_ANSWER_BODY_BYTES + 1))
    assert {name: too_large.headers[name] for name in SAFE_HEADERS} == SAFE_HEADERS
    from_server = await client.get("/caller")
    assert from_server.headers.get_list("content-security-policy") == ["the server's"]
    assert from_server.headers["x-content-type-options"] == "nosniff"
    assert {answer.headers["server"] for answer in (too_large, from_server)} == {"nginx"}


def expect_problem(answer: httpx.Response, code: Code) -> None:
    problem = DomovoiError(code).problem()
    assert (answer.status_code, answer.headers["content-type"]) == (problem.status, "application/problem+json")
    assert answer.json() == {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
