"""Makes the node faster, never different. Imported through `inference_node.accelerator` alone."""

from accel._native import Engine, Generation, Tokenizer, encode_event, render_template
from accel.errors import BadRequest, Damaged, EngineError, Failed, OutOfMemory, TooLong, Unsupported

__all__ = [
    "BadRequest",
    "Damaged",
    "Engine",
    "EngineError",
    "Failed",
    "Generation",
    "OutOfMemory",
    "Tokenizer",
    "TooLong",
    "Unsupported",
    "encode_event",
    "render_template",
]
