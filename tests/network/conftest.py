"""One town for all scenarios: each finds it whole and leaves it whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests import nginx
from tests.effort import SLOW
from tests.end_to_end.conftest import playwright
from tests.end_to_end.pair_command import PairCommand, begin
from tests.end_to_end.whereabouts import expect_status, permit, ways
from tests.network.machines import Browser, Machine
from tests.network.namespaces import can_make_namespaces
from tests.network.town import NAME, Town

__all__ = ["playwright"]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Playwright

    from tests.network.namespaces import Namespace

URL = f"https://{NAME}"
PAIRED_WITHIN_MS = 60_000
MOST_OPENINGS = 10
# Of a slow engine's, longer than what happens in the middle of it.
ANSWER_TOKENS = 150
# That nobody answered, or somebody else, and that a permission ends a moment before its page does.
CHROMIUMS_OWN = re.compile(r"^Failed to load resource|blocked by CORS policy")
NOT_ASKED_FOR = "NONE OF THE NETWORK SCENARIOS WAS TRIED, which take minutes: make network"
NO_NAMESPACES = "NO NETWORK NAMESPACES (not root, or the kernel has none): NONE OF THE NETWORK SCENARIOS WAS TRIED"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("town")


@pytest.fixture(scope="session")
def town(folder: Path) -> Iterator[Town]:
    if not SLOW:
        pytest.skip(NOT_ASKED_FOR)
    if not can_make_namespaces():
        pytest.skip(NO_NAMESPACES)
    if nginx.nginx_path() is None:
        pytest.skip("no nginx on this machine")
    made = Town(folder)
    yield made
    made.close()


@pytest.fixture(scope="session")
def door(town: Town, folder: Path) -> Iterator[nginx.Nginx]:
    """The VPS's nginx, as it is deployed."""
    made = nginx.prepare(
        folder / "nginx", port=443, plain_port=80, server_port=8460, name=NAME, address="0.0.0.0"
    )  # its network is its own
    with town.vps.inside():
        made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def vps(town: Town, folder: Path, door: nginx.Nginx) -> Iterator[Machine]:
    assert door.process is not None
    machine = Machine(folder / "vps", network=town.vps, town=town, environment={"DOMOVOI_PUBLIC_URL": URL})
    machine.start("server")
    yield machine
    machine.stop_all()


def furnish(network: Namespace, town: Town, folder: Path, model: Path, door: nginx.Nginx, name: str) -> Machine:
    """Make a PC with the model that trusts the VPS's certificate and may answer on the network at home."""
    environment = {
        "DOMOVOI_NODE_NAME": name,
        "DOMOVOI_LOCAL_NETWORK": "on",
        "SSL_CERT_FILE": str(door.certificate),
    }
    machine = Machine(folder / network.name, network=network, town=town, environment=environment)
    machine.add_model(model)
    return machine


def pair(profile: Browser, pc: Machine) -> None:
    """Pair a PC as a person does who sits between both screens."""
    profile.goto("/house")
    *_, address, code = begin(profile)
    command = PairCommand(pc, address, code)
    digits = command.digits()
    dialog = profile.page.get_by_role("dialog")
    expect(dialog.get_by_role("img", name=" ".join(digits.replace(" ", "")))).to_be_visible()
    dialog.get_by_role("button", name="They match, pair").click()
    assert command.end() == 0, command.said
    command.kill()
    card = profile.page.get_by_role("region", name=pc.environment["DOMOVOI_NODE_NAME"])
    expect(card).to_contain_text("Awake", timeout=PAIRED_WITHIN_MS)


@pytest.fixture(scope="session")
def first_pc(town: Town, folder: Path, door: nginx.Nginx, default_test_model: Path) -> Iterator[Machine]:
    machine = furnish(town.pc, town, folder, default_test_model, door, "Study PC")
    machine.start("node")
    yield machine
    machine.stop_all()


@pytest.fixture(scope="session")
def paired_second_pc(
    town: Town, folder: Path, door: nginx.Nginx, default_test_model: Path, owners_phone: Browser
) -> Iterator[Machine]:
    machine = furnish(town.second_pc, town, folder, default_test_model, door, "Attic PC")
    machine.start("node")
    pair(owners_phone, machine)
    yield machine
    machine.stop_all()


@pytest.fixture
def second_pc(paired_second_pc: Machine) -> Iterator[Machine]:
    """Another PC at home, which is off in all tests that do not ask for it."""
    if "node" not in paired_second_pc.processes:
        paired_second_pc.start("node")
    yield paired_second_pc
    paired_second_pc.stop("node")


def browser(playwright: Playwright, town: Town, network: Namespace, folder: Path) -> Browser:
    """Return a browser on that network, which trusts whatever certificate there is."""
    return Browser(
        playwright,
        folder / network.name,
        URL,
        arguments=("--ignore-certificate-errors",),
        longest_answer=ANSWER_TOKENS,
        network=network,
        town=town,
    )


@pytest.fixture(scope="session")
def owners_phone(
    playwright: Playwright, town: Town, folder: Path, vps: Machine, first_pc: Machine
) -> Iterator[Browser]:
    """The phone of the one who has set all of this up, at home."""
    profile = browser(playwright, town, town.phone, folder)
    profile.goto()
    permit(profile, "granted")
    profile.make_first_account(vps.setup_code)
    pair(profile, first_pc)
    yield profile
    profile.close()


@pytest.fixture
def pc(first_pc: Machine, owners_phone: Browser) -> Machine:
    """The PC at home, paired and awake."""
    return first_pc


@pytest.fixture
def phone(owners_phone: Browser) -> Iterator[Browser]:
    """The phone at home, on a new conversation and with the straight way."""
    owners_phone.problems.clear()
    go_direct(owners_phone)
    yield owners_phone
    check(owners_phone)


def go_direct(profile: Browser) -> None:
    """Open the app until it has taken the straight way.

    On a busy machine the first answer of a PC may be as late as the server's, and then the relay is kept for long.
    """
    for _ in range(MOST_OPENINGS):
        profile.goto("/new")
        expect_status(profile, r"(Direct|Relay) · \d+ ms")
        line = profile.page.locator("button.here, header.bar .who").first
        if "Direct" in line.inner_text():
            return
    raise AssertionError(f"no straight way: {ways(profile)}")


@pytest.fixture(scope="session")
def owners_laptop(playwright: Playwright, town: Town, folder: Path, owners_phone: Browser) -> Iterator[Browser]:
    profile = browser(playwright, town, town.laptop, folder)
    profile.log_in()
    yield profile
    profile.close()


@pytest.fixture
def laptop(owners_laptop: Browser) -> Iterator[Browser]:
    """The other device of the same person, whom nobody has asked about the network at home."""
    owners_laptop.problems.clear()
    owners_laptop.goto("/new")
    yield owners_laptop
    check(owners_laptop)


def check(profile: Browser) -> None:
    """Fail if the page reported anything: an answer that was streamed otherwise than written, for one."""
    assert [problem for problem in profile.problems if not CHROMIUMS_OWN.search(problem)] == []
    assert profile.policy_reports == [], "the Content Security Policy forbade something of ours"
