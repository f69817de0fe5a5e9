"""The `domovoi` command: the one place that knows every part."""

from deploy.command.application import main

__all__ = ["main"]
