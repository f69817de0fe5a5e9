"""The built app: files as they are, and its page for every address that it routes itself."""

from __future__ import annotations

from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from shared.errors import Code, DomovoiError
from sync_server.content import FileAnswer

if TYPE_CHECKING:
    import os

    from starlette.responses import Response
    from starlette.types import Scope

# Names under /assets carry a hash of their content.
FOREVER = "public, max-age=31536000, immutable"
ASK_EVERY_TIME = "no-cache"
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_SERVER_PATHS = ("/api/", "/relay/", "/v1/", "/.well-known/", "/tunnel")


async def app_is_missing(_: Request) -> Response:
    """Say why there is no page here. Raises DomovoiError not_found."""
    raise DomovoiError(Code.NOT_FOUND, "The app is not built, so only the API is served. Build it with: make up")


class AppFiles(StaticFiles):
    """Serves the folder of the built app, compressed twins first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, or the app's page for an address of its own. Raises DomovoiError."""
        if scope["method"] not in {"GET", "HEAD"}:
            raise DomovoiError(Code.METHOD_NOT_ALLOWED)
        found, stat_result = self._find(path)
        if stat_result is None or not S_ISREG(stat_result.st_mode):
            if not _is_page(scope["path"]):
                raise DomovoiError(Code.NOT_FOUND)
            path = "index.html"
            found, stat_result = self._find(path)
        if stat_result is None:
            return await app_is_missing(Request(scope))
        return self._compressed(path, found, stat_result, scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the file, whose refusals are problems."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        if isinstance(response, FileResponse):
            return FileAnswer(full_path, status_code, stat_result=stat_result)
        return response

    def _find(self, path: str) -> tuple[str, os.stat_result | None]:
        try:
            return self.lookup_path(path)
        except (OSError, ValueError):  # a name that no file can have
            return "", None

    def _compressed(self, path: str, found: str, stat_result: os.stat_result, scope: Scope) -> Response:
        accepted = {
            part.partition(";")[0].strip() for part in Headers(scope=scope).get("accept-encoding", "").split(",")
        }
        for encoding, ending in _ENCODINGS:
            twin, twin_stat = self.lookup_path(path + ending)
            if encoding in accepted and twin_stat is not None:
                response = self.file_response(twin, twin_stat, scope)
                response.headers["content-encoding"] = encoding
                response.headers["content-type"] = self.file_response(found, stat_result, scope).headers["content-type"]
                return _with_cache(response, path)
        return _with_cache(self.file_response(found, stat_result, scope), path)


def _with_cache(response: Response, path: str) -> Response:
    is_hashed = Path(path).parts[:1] == ("assets",)
    response.headers["cache-control"] = FOREVER if is_hashed else ASK_EVERY_TIME
    response.headers["vary"] = "accept-encoding"
    return response


def _is_page(path: str) -> bool:
    """Say whether the app may route this address: no file name, nothing of the server's own."""
    return not path.startswith(_SERVER_PATHS) and "." not in path.rpartition("/")[2]
