"""Makes the node faster, never different. Imported through `inference_node.accelerator` alone."""

from accel._native import Engine, Generation, encode_event
from accel.errors import BadRequest, Damaged, EngineError, Failed, OutOfMemory, TooLong, Unsupported

__all__ = [
    "BadRequest",
    "Damaged",
    "Engine",
    "EngineError",
    "Failed",
    "Generation",
    "OutOfMemory",
    "TooLong",
    "Unsupported",
    "encode_event",
]
