"""How uvicorn serves the node's applications, on this PC and on the network at home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

from shared.bounded_http import SAFE_HEADERS, BoundedHttp

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def configuration(application: ASGIApp, *, most_connections: int, grace_s: int) -> uvicorn.Config:
    """Return it. After a stop, open requests have `grace_s` seconds to finish."""
    return uvicorn.Config(
        application,
        http=BoundedHttp,
        limit_concurrency=most_connections,
        headers=[*SAFE_HEADERS.items()],
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=grace_s,
    )
