from __future__ import annotations

import pytest

from core.model.measure import single
from mcp_server.cli import series


def test_bars_are_as_high_as_their_share_of_the_largest_value() -> None:
    assert series.bars([0.0, 5.0, None, 10.0]) == "▁▅ █"
    assert series.bars([0.0, 0.0]) == "▁▁"
    assert series.bars([None]) == " "


def test_what_is_printed_says_what_a_bar_is_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"since": "a", "until": "b", "step_seconds": 60, "left_out": 3, "rates": {"events_in": [1.0, None, 2000.0]}}
    series.graphs(found, {})
    said = capsys.readouterr().out
    assert "a bar for 60 s" in said
    assert "2,000" in said
    assert "3 workloads have no series" in said


def test_measures_are_printed_as_metrics_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    series.families({"families": [single("workers", "gauge", "Workers.", 2).to_dict()]}, {})
    assert "sluice_workers 2" in capsys.readouterr().out
