__all__ = ["encode_event"]

def encode_event(event_id: str, kind: str, data: bytes) -> bytes:
    """Return one server-sent event; ValueError when id or kind is not a single line."""
