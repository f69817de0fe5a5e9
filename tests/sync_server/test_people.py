"""Who uses a PC and who manages it (rule P7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sync_server.device import PASSWORD, Device, code_of
from tests.sync_server.pairing_node import PairingNode
from tests.sync_server.test_pairing import accounts_of, begin, confirm, nodes

if TYPE_CHECKING:
    import httpx

    from tests.sync_server.running_server import RunningServer


class House:
    """A PC that two accounts have paired: the first of them manages it."""

    def __init__(self, server: RunningServer, manager: Device, user: Device) -> None:
        self.manager, self.user = manager, user
        begun = begin(manager)
        self.node = PairingNode(server, begun["code"]).offered()
        self.node.state()
        assert confirm(manager, begun, self.node.check).is_success
        self.id = self.node.identity.node_id
        self.join(server, user)

    def join(self, server: RunningServer, device: Device) -> None:
        """Pair the same PC with another account."""
        begun = begin(device)
        again = PairingNode(server, begun["code"])
        again.identity = self.node.identity
        again.offered()
        again.state()
        assert confirm(device, begun, again.check).is_success

    def people(self, device: Device) -> dict[str, tuple[str, bool]]:
        rows: list[dict[str, Any]] = device.request("GET", f"/api/v1/nodes/{self.id}/people").json()["people"]
        return {row["username"]: (row["level"], row["is_you"]) for row in rows}

    def hand(self, device: Device, to: Device, password: str = PASSWORD) -> httpx.Response:
        body = {"account_id": to.session.account_id, "password": password}
        return device.request("POST", f"/api/v1/nodes/{self.id}/manager", json=body)

    def levels(self) -> dict[str, str]:
        """What the PC itself is told."""
        return accounts_of(self.node)


@pytest.fixture
def house(shared_server: RunningServer, device: Device, stranger: Device) -> House:
    return House(shared_server, device, stranger)


def test_P7_who_manages_a_pc_sees_all_who_use_it_and_others_see_who_does(
    shared_server: RunningServer, house: House
) -> None:
    third = shared_server.new_account(f"Third of {house.id}")
    house.join(shared_server, third)
    manager, user = house.manager.session.username, house.user.session.username
    assert set(house.people(house.manager)) == {manager, user, third.session.username}
    assert house.people(house.user) == {manager: ("manage", False), user: ("use", True)}
    outside = shared_server.new_account(f"Outside of {house.id}")
    assert code_of(outside.request("GET", f"/api/v1/nodes/{house.id}/people")) == (404, "node_unknown")
    assert code_of(house.hand(outside, outside)) == (404, "node_unknown")


def test_P7_a_pc_is_handed_over_and_the_pc_hears_of_it(house: House) -> None:
    assert house.hand(house.manager, house.user).status_code == 204
    assert house.levels() == {house.manager.session.account_id: "use", house.user.session.account_id: "manage"}
    assert nodes(house.user)[house.id]["level"] == "manage"
    assert code_of(house.hand(house.manager, house.manager)) == (403, "manager_only")
    assert house.hand(house.user, house.manager).status_code == 204
    assert house.levels()[house.manager.session.account_id] == "manage"


def test_P7_handing_over_takes_the_password_and_somebody_who_uses_the_pc(
    shared_server: RunningServer, house: House
) -> None:
    assert code_of(house.hand(house.manager, house.user, "not the password")) == (401, "login_wrong")
    outside = shared_server.new_account(f"Nobody of {house.id}")
    assert code_of(house.hand(house.manager, outside)) == (404, "not_found")
    assert house.levels()[house.manager.session.account_id] == "manage"


def test_P7_nobody_takes_a_pc_that_somebody_manages_and_anybody_who_uses_it_one_that_nobody_does(
    house: House,
) -> None:
    assert code_of(house.hand(house.user, house.user)) == (403, "manager_only")
    assert house.manager.request("DELETE", f"/api/v1/nodes/{house.id}").status_code == 204
    assert house.levels() == {house.user.session.account_id: "use"}
    assert house.hand(house.user, house.user).status_code == 204
    assert house.levels() == {house.user.session.account_id: "manage"}


def test_P7_who_manages_a_pc_ends_anothers_use_and_nobody_else_does(house: House) -> None:
    user, manager = house.user.session.account_id, house.manager.session.account_id

    def end(device: Device, account: str) -> httpx.Response:
        return device.request("DELETE", f"/api/v1/nodes/{house.id}/people/{account}")

    assert code_of(end(house.user, manager)) == (403, "manager_only")
    assert code_of(end(house.manager, manager)) == (404, "not_found")
    assert code_of(end(house.manager, "0" * 32)) == (404, "not_found")
    assert end(house.manager, user).status_code == 204
    assert house.levels() == {manager: "manage"}
    assert house.id not in nodes(house.user)
    relayed = house.user.request("GET", f"/relay/{house.id}/healthz")
    assert code_of(relayed) == (404, "node_unknown")
