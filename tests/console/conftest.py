"""One browser and one engine for all tests of the console; a tenant and a page for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import browsers
from tests.console.served import Served, Visitor, serving, visiting

HERE = Path(__file__).parent
FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session", autouse=True)
def _built(console_files: None) -> None:
    """Every test here needs its files."""


class Shared:
    """What the tests of this folder share: started for the first that needs it, ended before a test of another folder,
    since Playwright keeps an event loop in this thread as long as its browser is there."""

    def __init__(self) -> None:
        self._started = ExitStack()
        self._browser: Any = None
        self._engine: Served | None = None

    def browser(self) -> Any:
        if self._browser is None:
            self._browser = self._started.enter_context(browsers.launched())
        return self._browser

    def engine(self, places: pytest.TempPathFactory) -> Served:
        if self._engine is None:
            self._engine = self._started.enter_context(serving(places.mktemp("console")))
        return self._engine

    def end(self) -> None:
        self._browser = self._engine = None
        self._started.close()


SHARED = Shared()
TENANTS = (f"tenant-{number}" for number in itertools.count(1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[Any]:
    try:
        return (yield)
    finally:
        if nextitem is None or HERE not in nextitem.path.parents:
            SHARED.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The engine that the tests share, as its default tenant sees it, for what is about no tenant."""
    return SHARED.engine(tmp_path_factory)


@pytest.fixture
def served(engine: Served) -> Iterator[Served]:
    """The same engine, as a tenant sees it that has nothing yet; at the end it runs nothing any more."""
    made = engine.of(next(TENANTS))
    yield made
    made.stop_all()


@pytest.fixture
def browser() -> Any:
    return SHARED.browser()


@pytest.fixture
def visitor(browser: Any, served: Served, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Signed in as the administrator, with no page open yet."""
    with visiting(browser, served) as made:
        made.sign_in()
        yield made
        if request.node.stash.get(FAILED, False):
            made.picture()
