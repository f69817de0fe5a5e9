from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.end_to_end.browser import Profile, chromium_path
from tests.end_to_end.household import Household
from tests.end_to_end.proxy import CuttingProxy
from tests.model import default_test_model

__all__ = ["default_test_model"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    if chromium_path() is None:
        pytest.skip("no Chromium on this machine: install the package chromium to run the end-to-end tests")
    with sync_playwright() as started:
        yield started


@pytest.fixture
def household(tmp_path: Path, default_test_model: Path) -> Iterator[Household]:
    """A data folder with the real model in it; nothing runs yet."""
    yield from furnished(tmp_path, default_test_model)


def furnished(folder: Path, model: Path) -> Iterator[Household]:
    """Yield a household with the model. A module whose stories can share one overrides the fixture with its own."""
    house = Household(folder / "data")
    house.add_model(model)
    yield house
    house.stop_all()


@pytest.fixture
def open_profile(playwright: Playwright, household: Household, tmp_path: Path) -> Iterator[Callable[..., Profile]]:
    """Make browser profiles that fail the test when the page reported an error."""
    profiles: list[Profile] = []

    def open_one(name: str, **options: object) -> Profile:
        url = str(options.pop("url", household.url))
        profile = Profile(playwright, tmp_path / f"profile-{name}", url, **options)  # type: ignore[arg-type]
        profiles.append(profile)
        return profile

    yield open_one
    for profile in profiles:
        profile.close()
    problems = [problem for profile in profiles for problem in profile.problems]
    assert problems == [], "the page reported errors"
    reports = [report for profile in profiles for report in profile.policy_reports]
    assert reports == [], "the Content Security Policy forbade something of ours"


@pytest.fixture
def cutting_proxy() -> Iterator[Callable[[int], CuttingProxy]]:
    """Make proxies that end with the test."""
    proxies: list[CuttingProxy] = []

    def make(target: int) -> CuttingProxy:
        proxies.append(CuttingProxy(target))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()
