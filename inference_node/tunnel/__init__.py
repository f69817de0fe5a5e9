"""The node's end of its session with the server, over a WebSocket or long polling (rules N)."""
