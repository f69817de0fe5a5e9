"""Text becomes the tokens that llama.cpp makes of it, one for one, whatever the text."""

from __future__ import annotations

import importlib.util
import json
import os
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import xllamacpp  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from tests.accel import corpus

if TYPE_CHECKING:
    from collections.abc import Iterator

# In the checkout `accel` alone is found as a namespace package even where nothing was built.
if importlib.util.find_spec("accel._native") is None:
    pytest.skip("accel is not built here: install Rust (cargo), then `make accel`", allow_module_level=True)

import accel

SEED = 20261127
COUNT = 10_000 if os.environ.get("DOMOVOI_SLOW_TESTS") else 1_000
# More GGUF files to compare over, separated like PATH: a SentencePiece model, for one.
MORE_MODELS = [Path(path) for path in os.environ.get("DOMOVOI_TOKENIZER_MODELS", "").split(os.pathsep) if path]


class LlamaCpp:
    """llama.cpp's server in this process, asked over loopback."""

    def __init__(self, model: Path) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.n_ctx = 256
        parameters.n_parallel = 1
        parameters.cache_ram_mib = 0
        parameters.warmup = False
        self._server = xllamacpp.Server(parameters)
        address = urlsplit(self._server.listening_address)
        assert address.hostname
        self._connection = HTTPConnection(address.hostname, address.port)

    def encode(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        body = json.dumps({"content": text, "add_special": add_special, "parse_special": parse_special})
        self._connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
        tokens: list[int] = json.loads(self._connection.getresponse().read())["tokens"]
        return tokens

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module", params=[None, *MORE_MODELS], ids=lambda path: path.stem if path else "default")
def model(request: pytest.FixtureRequest, default_test_model: Path) -> Path:
    path: Path | None = request.param
    return path or default_test_model


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> accel.Tokenizer:
    return accel.Tokenizer(str(model))


@pytest.fixture(scope="module")
def llama_cpp(model: Path) -> Iterator[LlamaCpp]:
    peer = LlamaCpp(model)
    yield peer
    peer.close()


@pytest.mark.parametrize("parse_special", [False, True])
@pytest.mark.parametrize("add_special", [False, True])
def test_strings_of_many_kinds(
    tokenizer: accel.Tokenizer, llama_cpp: LlamaCpp, add_special: bool, parse_special: bool
) -> None:
    seed = SEED + 2 * add_special + parse_special
    for text in corpus.strings(seed, COUNT // 4):
        tokens = tokenizer.encode(text, add_special=add_special, parse_special=parse_special)
        expected = llama_cpp.encode(text, add_special=add_special, parse_special=parse_special)
        assert tokens == expected, f"seed {seed}: {text!r}"


def test_a_long_text(tokenizer: accel.Tokenizer, llama_cpp: LlamaCpp) -> None:
    text = "".join(corpus.strings(SEED, 1_000))
    expected = llama_cpp.encode(text, add_special=True, parse_special=True)
    assert tokenizer.encode(text, add_special=True, parse_special=True) == expected


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text(tokenizer: accel.Tokenizer, llama_cpp: LlamaCpp, text: str) -> None:
    assert tokenizer.encode(text) == llama_cpp.encode(text, add_special=False, parse_special=False)


def test_the_default_model_ends_where_llama_cpp_ends(default_test_model: Path) -> None:
    tokenizer = accel.Tokenizer(str(default_test_model))
    # As llama.cpp prints them: <|endoftext|>, <|im_end|> and <reponame>.
    assert tokenizer.ends == [0, 2, 4]
    prompt = "<|im_start|>user\nHäuser am Meer 👍🏽<|im_end|>"
    assert tokenizer.decode(tokenizer.encode(prompt, parse_special=True)) == prompt
