from collections.abc import Callable
from typing import final

__all__ = ["Engine", "Generation", "Tokenizer", "encode_event", "render_template"]

@final
class Engine:
    """One loaded model. Every method may raise `errors.Failed`, after which the engine is of no use."""

    def __new__(cls, path: str, options: bytes, progress: Callable[[int, int], None] | None) -> Engine:
        """Load a GGUF file; `options` is the JSON of `accel/src/request.rs`, `progress` takes bytes done and in all.

        Raises `errors.Damaged`, `Unsupported`, `OutOfMemory`, and whatever `progress` raises.
        """

    @property
    def description(self) -> bytes:
        """What is loaded, as JSON: `LoadedModel` of `inference_node/engines/engine.py`."""

    def start(self, request: bytes) -> Generation:
        """Begin an answer; `request` is the JSON of `accel/src/request.rs`. Dropping the generation stops it.

        Raises `errors.BadRequest`, `TooLong`.
        """

    def prompt(self, request: bytes) -> list[int]:
        """Return the tokens of a request's prompt; what people wrote is text, even where it spells a control token.

        Raises `errors.BadRequest`, `Unsupported`.
        """

    def tokenize(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Return a text's tokens; `parse_special` reads control tokens that are written out."""

    def score(self, tokens: list[int]) -> list[float]:
        """Return the natural log-probability of each token but the first, given those before it."""

    def embed(self, text: str) -> tuple[list[float], int]:
        """Return a text's vector, of length 1, and how many tokens it took.

        Raises `errors.Unsupported` for a model that answers, `TooLong`, `BadRequest` for an empty text.
        """

    def close(self) -> None:
        """Stop every answer and give the memory back."""

@final
class Generation:
    """One answer as it is made."""

    def next(self, timeout_s: float, apart_s: float = ...) -> bytes | None:
        """Return what came since the last call, a JSON array of events, or wait for it; None when nothing came.

        Text comes at least `apart_s` seconds, by default a sixtieth, after the text before it; the end does not wait.
        After the end the array is empty. Raises what made the answer fail, after the events before that.
        """

    def stop(self) -> None:
        """Ask for the end, which comes within a step."""

@final
class Tokenizer:
    """The vocabulary of a model file, and the rules by which text becomes its tokens."""

    def __new__(cls, path: str) -> Tokenizer:
        """Read a GGUF file. Raises `errors.Damaged`, `Unsupported`."""

    @property
    def ends(self) -> list[int]:
        """The tokens after which an answer is over."""

    def encode(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """Return a text's tokens.

        `add_special` puts those of beginning and end around them where the model wants that, `parse_special` reads
        control tokens that are written out.
        """

    def decode(self, tokens: list[int]) -> str:
        """Return what tokens say together, control tokens as they are written."""

def render_template(template: str, chat: bytes, *, bos_token: str = "", eos_token: str = "") -> str:
    """Return the prompt that a Jinja template makes of a chat; `chat` is the JSON of `accel/src/text/message.rs`.

    Raises `errors.BadRequest` when the template refuses the messages, `Unsupported` when it can't be run.
    """

def encode_event(event_id: str, kind: str, data: bytes) -> bytes:
    """Return one server-sent event; ValueError when id or kind is not a single line."""
