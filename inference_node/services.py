"""What the node's applications work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

    from inference_node.accounts import Accounts
    from inference_node.api_keys import ApiKeys
    from inference_node.claims import Claims
    from inference_node.completions import Completions
    from inference_node.key_set import KeySetCache
    from inference_node.metrics import Metrics
    from inference_node.models import ModelStore
    from inference_node.run_records import RunRecords
    from inference_node.runs import Runs
    from inference_node.status import Status


@dataclass(frozen=True)
class Services:
    """The parts of a running node."""

    accounts: Accounts
    api_keys: ApiKeys
    claims: Claims
    completions: Completions
    key_set: KeySetCache
    metrics: Metrics
    records: RunRecords
    runs: Runs
    status: Status
    store: ModelStore


def services_of(request: Request) -> Services:
    """Return the services of the application that the request came to."""
    services: Services = request.app.state.services
    return services
