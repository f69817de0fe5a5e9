"""The PC, each time a process of its own, to be killed: `python -m tests.chaos.node DATA SERVER PORT ORIGIN MODEL`.

All of it is the product's but the engine's words (with a MODEL, its question), and the table of network interfaces:
10.77.0.1 is bound as 127.77.0.1, so that nobody has to be root for the way straight to the PC.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from functools import partial
from pathlib import Path

from inference_node import main
from inference_node.engines.child_engine import ChildEngine
from inference_node.loading.loader import LoadLimits
from inference_node.network import listeners
from inference_node.network.interfaces import InterfaceAddress
from inference_node.network.network import Network
from inference_node.runs import runs
from inference_node.server.identity import enrol, ensure_identity
from inference_node.settings import NodeSettings
from tests.chaos.engine import FOLDER, MODULE
from tests.chaos.nursery import LOG_FORMAT, nurse
from tests.inference_node.gguf_file import write_gguf

ADDRESS = "10.77.0.1"
BOUND_AT = "127.77.0.1"
# What a kill may cost of an answer, so that short answers are worth killing.
CHECKPOINT_S = 0.02
# An engine that was killed is there again at once.
LIMITS = LoadLimits(first_pause=0.001, longest_pause=0.01, look_again=0.05, look_every=0.05)
# A file of that name, where engines leave their marks, holds the name of the PC's one interface.
INTERFACE = "interface"
LOOK_EVERY_S = 0.1


def read_table() -> list[InterfaceAddress]:
    """Return what the PC's table of interfaces is."""
    name = (Path(os.environ[FOLDER]) / INTERFACE).read_text("ascii")
    return [InterfaceAddress(name, ADDRESS, is_way_out=True)]


def run() -> None:
    """Have nodes, one after the other, over the same data."""
    data, server, port, origin, model = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    runs.CHECKPOINT_S = CHECKPOINT_S
    bound = listeners._bound
    listeners._bound = lambda place: bound(place._replace(address=BOUND_AT))
    settings = NodeSettings(
        data,
        port=port,
        server_url=server,
        allowed_origins=(origin,),
        name="Chaos PC",
        engine="native" if model else "llama_cpp",
        local_network=True,
    )
    enrol(data, ensure_identity(data, settings.name))
    settings.models.mkdir(parents=True, exist_ok=True)
    if model:
        (settings.models / Path(model).name).symlink_to(model)
    else:
        write_gguf(settings.models / "Chaos.gguf")
    make_engine = partial(ChildEngine, module=MODULE)
    vars(main)["Network"] = partial(Network, look_every_s=LOOK_EVERY_S)
    nurse(lambda ready: asyncio.run(main.serve(settings, ready, make_engine, LIMITS, read_table)))


if __name__ == "__main__":
    run()
