"""Makes the node faster, never different. Imported through `inference_node.accelerator` alone."""

from accel._native import encode_event

__all__ = ["encode_event"]
