"""Every promise names tests that are there, and every row of hostile input has one."""

from __future__ import annotations

import re
from pathlib import Path

from tests.attacks.test_rows import WANTED

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")
KEPT = {f"P{n}" for n in range(1, 36)}  # once given, a promise is not dropped
ROWS = [line.split(" | ") for line in TEXT.splitlines() if re.match(r"\| P[0-9]+ ", line)]


def test_every_promise_is_in_the_table_once_with_its_tests() -> None:
    ids = [cells[0].removeprefix("| ") for cells in ROWS]
    assert len(ids) == len(set(ids)) and set(ids) >= KEPT
    assert [cells[0] for cells in ROWS if not re.search(r"`\S+`", cells[2])] == []


def test_every_test_that_a_promise_names_is_there() -> None:
    gone = []
    for cells in ROWS:
        for name in re.findall(r"`([^`]+)`", cells[2]):
            file, colons, test = name.partition("::")
            if not colons:
                assert name in WANTED, name
                continue
            path = TESTS / file
            if not path.is_file() or f"def {test}(" not in path.read_text(encoding="utf-8"):
                gone.append(name)
    assert gone == []
