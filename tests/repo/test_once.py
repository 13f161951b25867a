"""Small logic that stands in one module and is used from there: read off the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("logic", "home"),
    [
        (r"get_close_matches", "core/near.py"),
        (r"min\((2 \* \w+|\w+ \* 2), |\* 2(\.0)? ?\*\* ?min|[A-Z] \* 2 ?\*\*", "core/backoff.py"),  # pauses that double
        (r"this edit did not start", "core/store/draft_conflicts.py"),
        (r"def is_loopback|\)\.is_loopback", "mcp_server/loopback.py"),
    ],
)
def test_it_stands_in_one_module(logic: str, home: str) -> None:
    sources = [path for top in ("core", "mcp_server") for path in sorted((ROOT / top).rglob("*.py"))]
    found = [path for path in sources if re.search(logic, path.read_text(encoding="utf-8"))]
    assert [path.relative_to(ROOT).as_posix() for path in found] == [home]
