"""`domovoi users`: who may come in."""

from __future__ import annotations
