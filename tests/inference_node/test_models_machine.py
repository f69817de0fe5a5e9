"""Copying, waiting, choosing, replacing and removing in any order: what is offered is whole, always."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from inference_node.models.models import SETTLED_S, ModelStore
from shared.errors import DomovoiError
from tests.effort import examples
from tests.inference_node.gguf_file import gguf

NAMES = st.sampled_from(["A.gguf", "B.gguf", "C.gguf"])
# Without the long list of scores: the header is read after every step.
WHOLE = gguf(entries={"tokenizer.ggml.scores": [0.5]})


class Folder(RuleBasedStateMachine):
    """A person with a file manager, somebody with the app, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name) / "models"
        self.folder.mkdir()
        self.now_s = 1_700_000_000.0
        self.chosen: str | None = None
        # What is in each file, and when it was last written to.
        self.files: dict[str, tuple[bytes, float]] = {}
        chosen = Path(self.place.name) / "node" / "default-model"
        self.store = ModelStore(self.folder, chosen=chosen, now_s=lambda: self.now_s)

    def teardown(self) -> None:
        self.place.cleanup()

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.write_bytes(content)
        os.utime(path, (self.now_s, self.now_s))
        self.files[name] = (content, self.now_s)

    @property
    def whole(self) -> set[str]:
        """The names of files that are whole and that nobody writes to any more."""
        settled = {name for name, (_, written_s) in self.files.items() if self.now_s - written_s >= SETTLED_S}
        return {name for name in settled if self.files[name][0] == WHOLE}

    @rule(name=NAMES, length=st.integers(0, len(WHOLE) - 1))
    def copy_some(self, name: str, length: int) -> None:
        self.write(name, WHOLE[:length])

    @rule(name=NAMES)
    def copy_all(self, name: str) -> None:
        self.write(name, WHOLE)

    @rule(name=NAMES)
    def spoil(self, name: str) -> None:
        self.write(name, b"<html>")

    @rule(seconds=st.sampled_from([0.5, 3.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(name=NAMES)
    def choose(self, name: str) -> None:
        try:
            self.store.use(name)
        except DomovoiError:
            assert name not in self.whole
        else:
            assert name in self.whole
            self.chosen = name

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        try:
            self.store.remove(name)
        except DomovoiError:
            assert name not in self.files
        else:
            del self.files[name]
            self.chosen = None if self.chosen == name else self.chosen

    @rule(name=NAMES)
    def delete_by_hand(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        self.files.pop(name, None)

    @invariant()
    def only_whole_ones_are_offered(self) -> None:
        assert {model.path.name for model in self.store.list()} == self.whole
        assert {found.path.name for found in self.store.survey()} == set(self.files)

    @invariant()
    def the_default_is_the_chosen_or_is_said_to_be_unusable(self) -> None:
        try:
            default = self.store.find(None).path.name
        except DomovoiError:
            assert not self.whole or self.chosen in self.files
        else:
            assert default == self.chosen if self.chosen in self.files else default in self.whole


TestFolder = Folder.TestCase
TestFolder.settings = examples(15)
