"""What the bodies of the OpenAI-compatible API have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from shared.values import Sampling

if TYPE_CHECKING:
    from inference_node.engines.engine import Finished

MOST_STOPS = 16
MOST_CHOICES = 16
# Seeds are any integer to OpenAI. The greatest of 32 bits means "by chance" to llama.cpp.
SEEDS = 2**32 - 1

ChoiceCount = Annotated[int, Meta(ge=1, le=MOST_CHOICES)]


class StreamOptions(Struct, frozen=True):
    """`include_usage` asks for a last chunk with the counts."""

    include_usage: bool = False


class AnswerRequest(Sampling, frozen=True, kw_only=True):
    """What is asked for with every kind of answer. Members that are not named are ignored."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | Annotated[list[str], Meta(max_length=MOST_STOPS)] | None = None
    n: ChoiceCount | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    logit_bias: dict[str, float] | None = None

    @property
    def count(self) -> int:
        """How many choices are asked for."""
        return self.n or 1

    @property
    def stops(self) -> list[str]:
        """The stop strings; empty ones stop nothing."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in stops if stop]

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, choice: int, most_tokens: int | None) -> Sampling:
        """Return how to pick the tokens of a choice: each has a seed of its own, or all would be the same."""
        asked = {name: getattr(self, name) for name in Sampling.__struct_fields__}
        seed = None if self.seed is None else (self.seed + choice) % SEEDS
        return Sampling(**{**asked, "seed": seed, "max_tokens": most_tokens})


class PromptTokensDetails(Struct, frozen=True):
    """How many tokens of the prompts did not have to be read again."""

    cached_tokens: int


class Usage(Struct, frozen=True):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


def usage(ended: dict[int, Finished], choices_each: int) -> Usage:
    """Return the counts of choices by their index; a prompt counts once, whatever number of choices it has."""
    firsts = [finished for index, finished in ended.items() if index % choices_each == 0]
    prompt = sum(finished.prompt_tokens for finished in firsts)
    cached = sum(finished.cached_tokens for finished in firsts)
    completion = sum(finished.completion_tokens for finished in ended.values())
    return Usage(prompt, completion, prompt + completion, PromptTokensDetails(cached))
