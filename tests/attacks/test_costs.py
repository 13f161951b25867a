"""What hostile input of up to 1 MiB costs to read and check: time and memory; and nothing is reached by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.costs import SECONDS

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 200 * 1024 * 1024


@pytest.fixture(scope="module")
def told() -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.costs"], cwd=ROOT, capture_output=True, timeout=240, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_no_input_costs_more_than_its_budget(told: dict[str, dict[str, float]]) -> None:
    assert len(told["cpu"]) > 290
    assert {name: seconds for name, seconds in told["cpu"].items() if seconds > SECONDS} == {}


def test_all_of_it_together_takes_little_memory(told: dict[str, int]) -> None:
    assert told["rss"] < MEMORY_BYTES


def test_no_schema_reaches_a_file_or_an_address(told: dict[str, list[str]]) -> None:
    assert told["control"] == ["open '/dev/null'"], "what is reached is seen"
    assert told["reached"] == []
