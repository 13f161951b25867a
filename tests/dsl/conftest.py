"""Fixtures for tests of the job language."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dsl.rig import Worker


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "state")
