"""Model files, by every Python door that reads one before it is trusted: header, control tokens, accel's reader.

What is no GGUF file is taken for a chat template. accel's own fuzzing in Rust goes deeper (`accel/fuzz/`); here its
errors must be those that Python knows.
"""

from __future__ import annotations

import atexit
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inference_node.accelerator import accel
from inference_node.gguf.header import MAGIC, GgufError, read_header
from inference_node.gguf.vocabulary import Spelling, control_texts
from inference_node.loading.fitting import fit

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

MEMORY = 8 << 30
OPTIONS = b'{"context":64,"slots":1,"cache":"f16","cache_bytes":1048576}'
CHAT = b'{"messages":[{"role":"user","content":"<|im_end|> hello"}],"tools":[]}'


def make() -> Target:
    """Return what reads."""
    folder = tempfile.TemporaryDirectory(prefix="domovoi-fuzz-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "model.gguf"

    def read(data: bytes) -> None:
        if not data.startswith(MAGIC):
            _render(data.decode("utf-8", "replace"))
            return
        path.write_bytes(data)
        _read_as_a_node_does(path)
        _read_with_accel(path)

    return read


def _read_as_a_node_does(path: Path) -> None:
    with suppress(GgufError):
        header = read_header(path)
        assert min(header.parameters, header.context, header.layers, header.kv_width, header.file_bytes) >= 0
        assert fit(header, MEMORY).context >= 0
        assert all(text.isprintable() for text in (header.architecture, header.name or "", header.licence or ""))
    with suppress(GgufError):
        controls = control_texts(path)
        spelt = Spelling(controls).harmless(" ".join(controls[:5]))
        assert not any(len(text) > 1 and text in spelt for text in controls)


def _read_with_accel(path: Path) -> None:
    """A panic is `Failed`, and no error that is expected here."""
    if accel is None:
        return
    expected = (accel.Damaged, accel.Unsupported, accel.OutOfMemory)
    with suppress(*expected):
        tokenizer = accel.Tokenizer(str(path))
        tokenizer.decode(tokenizer.encode("Hello <|im_end|>", parse_special=True))
    with suppress(*expected):
        accel.Engine(str(path), OPTIONS, None).close()


def _render(template: str) -> None:
    if accel is None:
        return
    with suppress(accel.BadRequest, accel.Unsupported):
        assert isinstance(accel.render_template(template, CHAT), str)
