"""The Domovoi protocol: what server, node and app agree on. Does no I/O.

`SPEC.md` beside this file states the rules; rule ids such as `C2` in docstrings and test names refer to it.
"""
