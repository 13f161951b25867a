"""Fixtures that every test may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog

# A shell starts what it runs in the background with SIGINT ignored, and commands that tests interrupt would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Commands that run in the process of the tests set up its logs; the next test finds them as at the start."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
