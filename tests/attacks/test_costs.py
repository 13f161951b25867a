"""What hostile input of up to 1 MiB costs to read and check: time and memory; and nothing is reached by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 200 * 1024 * 1024
UNSTEADY_BYTES = 16 * 1024 * 1024  # what allocators keep, whatever the size of the inputs


@pytest.mark.parametrize("part", [pytest.param(8, id="ci"), pytest.param(1, id="soak", marks=pytest.mark.soak)])
def test_hostile_input_costs_little_and_reaches_nothing(part: int) -> None:
    command = [sys.executable, "-m", "tests.attacks.costs", f"{part}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=240, check=True)
    seen = json.loads(done.stdout)
    assert len(seen["cpu"]) > 290
    assert seen["control"] == ["open '/dev/null'"], "what is reached is seen"
    faults = [f"{name}: {seconds:.3f} s" for name, seconds in seen["cpu"].items() if seconds > seen["budget"]]
    if seen["rss"] > MEMORY_BYTES / part + UNSTEADY_BYTES * (part > 1):
        faults.append(f"all of them together: {seen['rss']} bytes of memory")
    faults += [f"a schema has reached {what}" for what in seen["reached"]]
    assert faults == []
