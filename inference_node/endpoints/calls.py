"""Calls that are being answered, by whose token they came with, so that they end when it is revoked (rule K9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from inference_node.endpoints.content import problem
from shared.errors import Code, DomovoiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shared.tokens import Claims

_CALL = "domovoi.call"


class Calls:
    """Both applications' calls. Their door notes who asks; `end` cuts those off that may not be answered any more."""

    def __init__(self) -> None:
        self._open: dict[anyio.CancelScope, Claims | None] = {}

    def watched(self, application: ASGIApp) -> ASGIApp:
        """Return the application with its calls watched."""

        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            has_begun = False

            async def sending(message: Message) -> None:
                nonlocal has_begun
                has_begun = True
                await send(message)

            with anyio.CancelScope() as call:
                self._open[call] = None
                try:
                    await application({**scope, _CALL: call}, receive, sending)
                finally:
                    del self._open[call]
            # What has begun is cut off: the caller sees that it did not come to its end.
            if call.cancelled_caught and not has_begun:
                await problem(DomovoiError(Code.DEVICE_REVOKED))(scope, receive, send)

        return watch

    def note(self, scope: Scope, claims: Claims) -> None:
        """Remember whose call this is."""
        self._open[scope[_CALL]] = claims

    def end(self, is_over: Callable[[Claims], bool]) -> None:
        """Cut off every call whose claims are over."""
        for call, claims in tuple(self._open.items()):
            if claims is not None and is_over(claims):
                call.cancel()
