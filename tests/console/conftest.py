"""One browser and one engine for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import browsers
from tests.console.served import Served, Visitor, serving, visiting

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session", autouse=True)
def _built(console_files: None) -> None:
    """Every test here needs its files."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.launched() as launched:
        yield launched


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
def visitor(browser: Any, served: Served, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Signed in as the administrator."""
    with visiting(browser, served) as made:
        made.page.goto(served.new_link())
        made.sees("Needs attention")
        yield made
        if request.node.stash.get(FAILED, False):
            made.picture()
