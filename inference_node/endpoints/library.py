"""/v1/library: the node's models for the app. Only what the catalogue names is fetched from here.

An address is not taken: a person who may ask this PC questions need not be one who may have it fetch anything from
anywhere, its own network included. The owner does that on the PC: `domovoi models pull`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from sse_starlette import EventSourceResponse
from starlette.responses import Response
from starlette.routing import Route

from inference_node.endpoints.answers import SEND_WITHIN_S, STREAM_HEADERS
from inference_node.endpoints.content import read, respond
from inference_node.hardware.survey import survey
from inference_node.models import catalogue, library
from shared.errors import Code, DomovoiError
from shared.library_wire import ModelChoice, PullModel
from shared.limits import EVENT_STREAM_PING_S, MAX_JSON_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from inference_node.endpoints.answers import Authenticate
    from inference_node.loading.keeper import Keeper
    from inference_node.models.pulls import Pulls
    from shared.library_wire import Library


class Models:
    """What the endpoints act on. `setting` is the model that the owner has set; `on_change` tells the server."""

    def __init__(self, keeper: Keeper, pulls: Pulls, setting: str | None, on_change: Callable[[], None]) -> None:
        self.pulls = pulls
        self._keeper = keeper
        self._setting = setting
        self._on_change = on_change

    async def overview(self) -> Library:
        """Return everything about the models. Files and drivers are read in a thread."""
        shown = await asyncio.to_thread(self._overview)
        return msgspec.structs.replace(shown, pulls=self.pulls.states())

    def use(self, name: str) -> None:
        """Make a model the default and begin to load it. Raises DomovoiError `model_fixed`, `model_missing`."""
        library.require_free_choice(self._setting)
        self._keeper.store.use(name)
        self._keeper.load(None)
        self._on_change()

    def remove(self, name: str) -> None:
        """Delete a model. Raises DomovoiError `model_missing`, `model_busy` for the one that is loaded."""
        store = self._keeper.store
        if self._keeper.holds(store.path_of(name)):
            raise DomovoiError(Code.MODEL_BUSY, "This model is in memory. Unload it first.")
        store.remove(name)
        self._on_change()

    async def close(self) -> None:
        """Stop what goes on by itself."""
        await self.pulls.close()

    def _overview(self) -> Library:
        store = self._keeper.store
        return library.overview(store, self._setting, survey(store.folder))


def routes(models: Models, authenticate: Authenticate, authenticate_manager: Authenticate) -> list[Route]:
    """Return the routes. Looking is for every account that this node serves, changing for those that manage it."""

    async def overview(request: Request) -> Response:
        await authenticate(request)
        return respond(request, await models.overview())

    async def pull(request: Request) -> Response:
        await authenticate_manager(request)
        wanted = await read(request, PullModel, MAX_JSON_BODY_BYTES)
        model = catalogue.find(wanted.id)
        if model.licence.must_accept and not wanted.accept_licence:
            raise DomovoiError(Code.LICENCE_REQUIRED, f"Read {model.licence.url} and accept it, then pull again.")
        return respond(request, models.pulls.start(model))

    async def events(request: Request) -> Response:
        await authenticate(request)
        file = request.path_params["file"]
        models.pulls.require(file)
        return EventSourceResponse(
            models.pulls.follow(file), headers=STREAM_HEADERS, ping=EVENT_STREAM_PING_S, send_timeout=SEND_WITHIN_S
        )

    async def stop(request: Request) -> Response:
        await authenticate_manager(request)
        await models.pulls.stop(request.path_params["file"])
        return Response(status_code=204)

    async def use(request: Request) -> Response:
        await authenticate_manager(request)
        models.use((await read(request, ModelChoice, MAX_JSON_BODY_BYTES)).model)
        return Response(status_code=204)

    async def remove(request: Request) -> Response:
        await authenticate_manager(request)
        models.remove((await read(request, ModelChoice, MAX_JSON_BODY_BYTES)).model)
        return Response(status_code=204)

    return [
        Route("/v1/library", overview, methods=["GET"]),
        Route("/v1/library/pull", pull, methods=["POST"]),
        Route("/v1/library/pulls/{file}/events", events, methods=["GET"]),
        Route("/v1/library/pulls/{file}/stop", stop, methods=["POST"]),
        Route("/v1/library/use", use, methods=["POST"]),
        Route("/v1/library/remove", remove, methods=["POST"]),
    ]
