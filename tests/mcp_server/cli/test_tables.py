"""What a table does when its terminal is narrow."""

from __future__ import annotations

import pytest

from core import clock
from mcp_server.cli import render, tables

NOW_NS = 1_772_366_400 * clock.NANOSECONDS  # 2026-03-01T12:00:00Z


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("2026-03-01T12:00:00.000Z", "0s"),
        ("2026-03-01T11:58:01Z", "119s"),
        ("2026-03-01T11:58:00.000Z", "2m"),
        ("2026-03-01T12:58:00+02:00", "62m"),
        ("2026-02-27T12:00:00.000Z", "2d"),
        ("2026-03-01T12:10:00.000Z", "in 10m"),
        ("never", "never"),
    ],
)
def test_a_time_is_told_as_its_age(text: str, age: str) -> None:
    assert tables.age(text, NOW_NS) == age


def test_a_name_stays_whole_and_is_never_alone() -> None:
    rows = [{"name": "a-name-of-twenty-two-x", "state": "running", "reason": "because of it"}]
    table = tables.lay(rows, ("name", "state", "reason!"), render.printable, width=10)
    assert (table.lines, table.dropped) == (
        ["NAME                    STATE", "a-name-of-twenty-two-x  running"],
        ["reason"],
    )


def test_a_column_that_is_kept_goes_before_those_that_stand_before_it() -> None:
    rows = [{"name": "one", "worker": "local-1", "state": "up", "reason": "no space is left on the disk"}]
    table = tables.lay(rows, ("name", "worker", "state", "reason!"), render.printable, width=26)
    assert table.lines == ["NAME  STATE  REASON", "one   up     no space is…"]
    assert table.dropped == ["worker"]


def test_prose_is_cut_by_the_cells_that_it_takes() -> None:
    assert tables.cut("東京大阪", 8) == "東京大阪"
    assert tables.cut("東京大阪", 7) == "東京大…"
    assert tables.cells_of("e\u0301") == 1
