"""The end of a grant, and of what hangs on it (rule P6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_server.nodes.nodes import unpair_node

if TYPE_CHECKING:
    from sync_server.accounts.caller import Caller
    from sync_server.services import Services


async def unpair(services: Services, caller: Caller, node_id: bytes) -> None:
    """Unpair the node from the caller's account. Raises DomovoiError node_unknown."""
    await unpair_node(services.database, caller.account_id, node_id)
    services.streams.close_node(caller.account_id, node_id)
    await services.tunnels.grants_changed(caller.account_id)
