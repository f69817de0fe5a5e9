"""The inference node: runs models on the owner's PC and answers requests from the log and directly.

`main.py` composes it. It imports `shared`, never `sync_server`; only `accelerator.py` knows that `accel` exists.
"""
