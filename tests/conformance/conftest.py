from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import npm


@pytest.fixture(scope="session")
def packages() -> Path:
    """The directory with the npm packages."""
    return npm.install()
