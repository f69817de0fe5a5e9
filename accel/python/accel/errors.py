"""What can go wrong in the engine: the closed set of `accel/src/error.rs`, raised from Rust."""


class EngineError(Exception):
    """The engine can't do what it was asked; the text is for people."""


class Damaged(EngineError):
    """The model file is damaged."""


class Unsupported(EngineError):
    """The engine does not know the model's architecture, packing, tokenizer or template."""


class OutOfMemory(EngineError):
    """Memory for weights, cache or scratch is not to be had."""


class TooLong(EngineError):
    """The prompt does not leave the room that it should; `tokens` is what it takes."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"the prompt takes {tokens} tokens")
        self.tokens = tokens


class BadRequest(EngineError):
    """The request can't be done as it stands."""


class Failed(EngineError):
    """A fault of the engine itself. It is of no use after it."""
