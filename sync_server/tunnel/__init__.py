"""The server's end of a node's session, over a WebSocket or long polling (rules N)."""
