"""Which engines a node tries, in which order."""

from __future__ import annotations

import importlib.util

from inference_node.engine_process import ENGINES
from shared.errors import StartupError


def chain(setting: str | None) -> list[str]:
    """Return the engines to try, in order: the one that is set, or all that are part of this installation.

    Raises StartupError when there is none of that name.
    """
    if setting is None:
        return [name for name, (module, _) in ENGINES.items() if importlib.util.find_spec(module) is not None]
    if setting not in ENGINES:
        raise StartupError(f"There is no engine {setting!r}. Known: {', '.join(ENGINES)}. Unset DOMOVOI_ENGINE.")
    return [setting]
