"""What `make quick` runs is told by what files import, not by a list."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import quick

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name", ["scenarios/test_crash_invoke.py", "mcp_server/test_stdio.py", "external/test_workers.py", "test_parity.py"]
)
def test_a_file_that_starts_something_is_left_out(name: str) -> None:
    assert quick.starts(TESTS / name)


@pytest.mark.parametrize("name", ["deployments/test_placement.py", "dsl/test_actions.py", "documents/test_load.py"])
def test_the_rooms_that_only_reckon_are_in(name: str) -> None:
    assert not quick.starts(TESTS / name)


@pytest.mark.parametrize(
    ("source", "starts"),
    [
        ("import json", False),
        ("from core import clock", False),
        ("import subprocess", True),
        ("from core import engine", True),
        ("from mcp_server.cli import main", True),
        ("import os\nos.fork()", True),
        ("from tests.engines import ADMIN", True),
        ("from tests import engines", True),
        ("from tests import waiting", False),
    ],
)
def test_what_a_file_imports_says_whether_it_starts_something(tmp_path: Path, source: str, starts: bool) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(source)
    assert quick.starts(path) == starts
