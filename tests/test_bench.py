"""The benchmarks run; what they measure is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import SUITES
from bench.report import Row, table

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("suites", ["plan", pytest.param("all", marks=pytest.mark.soak)])
def test_the_smallest_run_gives_figures_of_both_sides(suites: str) -> None:
    command = [sys.executable, "-m", "bench", suites, "--smallest", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert tuple(found["suites"]) == (SUITES if suites == "all" else (suites,))
    assert found["machine"]["processors"] >= 1
    for suite, rows in found["suites"].items():
        assert rows
        if suite == "console" and "Chromium" in rows[0]["note"]:
            continue  # there is none here
        for row in rows:
            assert row["ours"] is not None and row["ours"] >= 0
            assert row["floor"] is None or row["ratio"] == row["ours"] / row["floor"]


def test_a_target_bounds_the_ratio_or_the_figure_itself() -> None:
    assert Row("latency", "ms", 1.5, 1.0, 1.6).met is True
    assert Row("latency", "ms", 1.7, 1.0, 1.6).met is False
    assert Row("rate", "1/s", 50, 100, 0.4, more_is_better=True).met is True
    assert Row("rate", "1/s", 30, 100, 0.4, more_is_better=True).met is False
    assert Row("memory", "MiB", 160, None, 150).met is False
    assert Row("shown only", "ms", 1.0, 1.0).met is None


def test_the_table_says_what_was_missed() -> None:
    lines = table([Row("latency", "ms", 3.0, 1.0, 2.0, note="floor: nothing else")]).splitlines()
    assert lines[-1].split()[-6:] == ["3", "1", "3.00x", "<=", "2x", "NO"]
    assert lines[-1].startswith("latency [ms] (floor: nothing else)")
