"""The engines there are, the best first, and where each is. Only the engine process imports what they name."""

from __future__ import annotations

import importlib.util

from shared.errors import StartupError

# Module and class; each brings native code.
ENGINES = {
    "native": ("inference_node.native", "Native"),
    "llama_cpp": ("inference_node.llama_cpp", "LlamaCpp"),
}


def chain(setting: str | None) -> list[str]:
    """Return the engines to try, in order: the one that is set, or all that are part of this installation.

    Raises StartupError when there is none of that name.
    """
    if setting is None:
        return [name for name, (module, _) in ENGINES.items() if importlib.util.find_spec(module) is not None]
    if setting not in ENGINES:
        raise StartupError(f"There is no engine {setting!r}. Known: {', '.join(ENGINES)}. Unset DOMOVOI_ENGINE.")
    return [setting]
