"""The sync server: accounts, devices, the change log, presence, and the relay to nodes.

`main.py` composes it, `application.py` lists its addresses. It imports `shared`, never `inference_node`.
"""
