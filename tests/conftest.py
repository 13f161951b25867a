"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import structlog

# A shell starts what it runs in the background with SIGINT ignored, and commands that tests interrupt would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if os.geteuid() != 0 and item.get_closest_marker("root") is not None:
        pytest.skip("only root can try this")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Commands that run in the process of the tests set up its logs; the next test finds them as at the start."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
