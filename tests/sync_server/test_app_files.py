from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.sync_server.device import code_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

from tests.sync_server.running_server import RunningServer

PAGE = "<!doctype html><title>Domovoi</title>"


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text(PAGE)
    (folder / "sw.js").write_text("self")
    (folder / "manifest.webmanifest").write_text("{}")
    (folder / "assets" / "main-1a2b.js").write_text("let a = 1")
    (folder / "assets" / "main-1a2b.js.gz").write_bytes(gzip.compress(b"let a = 1"))
    (folder.parent / "secret.txt").write_text("secret")
    running = RunningServer(tmp_path_factory.mktemp("data"), app_folder=folder)
    yield running.client()
    running.stop()


@pytest.mark.parametrize("path", ["/", "/index.html", "/welcome?setup=AAAA", "/chats/0190-abc", "/a/b/c"])
def test_the_apps_own_addresses_get_its_page(http: httpx.Client, path: str) -> None:
    response = http.get(path)
    assert (response.status_code, response.text) == (200, PAGE)
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["cache-control"] == "no-cache"
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_hashed_files_are_kept_for_ever_and_come_compressed(http: httpx.Client) -> None:
    compressed = http.get("/assets/main-1a2b.js", headers={"accept-encoding": "gzip"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.text == "let a = 1"
    plain = http.get("/assets/main-1a2b.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == "let a = 1"
    for response in (compressed, plain):
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["content-type"].startswith("text/javascript")
        assert response.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize("path", ["/sw.js", "/manifest.webmanifest"])
def test_what_must_stay_fresh_is_asked_for_every_time(http: httpx.Client, path: str) -> None:
    response = http.get(path)
    assert response.headers["cache-control"] == "no-cache"
    again = http.get(path, headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/assets/missing.js",
        "/favicon.ico",
        "/api/v1/nowhere",
        "/relay/x",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/%00.js",
        f"/{'x' * 5000}.js",
    ],
)
def test_what_is_not_there_is_not_found(http: httpx.Client, path: str) -> None:
    assert code_of(http.get(path)) == (404, "not_found")


def test_only_reading(http: httpx.Client) -> None:
    assert code_of(http.post("/chats")) == (405, "method_not_allowed")
    assert http.head("/").status_code == 200
