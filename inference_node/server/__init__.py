"""The sync server as the node sees it: its API, the tunnel to it, and what it certifies."""
