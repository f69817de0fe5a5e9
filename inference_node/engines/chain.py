"""Which engines a node tries, in which order: those that are here. `engines.py` tells of the others, and why not."""

from __future__ import annotations

import importlib.util

from inference_node import accelerator
from inference_node.engines.process import ENGINES
from shared.errors import StartupError

# These import without accel, and are of no use without it.
IN_ACCEL = frozenset({"native"})


def is_here(name: str) -> bool:
    """Return whether an engine is part of this installation."""
    if name in IN_ACCEL and not accelerator.accelerated:
        return False
    return importlib.util.find_spec(ENGINES[name][0]) is not None


def chain(setting: str | None) -> list[str]:
    """Return the engines to try, in order: the one that is set, or all that are part of this installation.

    Raises StartupError when there is none of that name.
    """
    if setting is None:
        return [name for name in ENGINES if is_here(name)]
    if setting not in ENGINES:
        raise StartupError(f"There is no engine {setting!r}. Known: {', '.join(ENGINES)}. Unset DOMOVOI_ENGINE.")
    return [setting]
