"""The figures of the long proofs: what each test of `make soak` counted, in a table at the end of the run.

A test records its counts (`record`) before it asserts anything about them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import hypothesis

COLUMNS = ("kills", "cuts", "requests", "rounds", "runs", "events", "lost", "doubled")

Recorder = Callable[[str, object], None]  # pytest's fixture `record_property`


def record(recorder: Recorder, **counts: int) -> None:
    """Counts of a test, under the names of COLUMNS."""
    assert set(counts) <= set(COLUMNS), counts
    for name, count in counts.items():
        recorder(name, count)


class Report(Protocol):
    """What this reads of pytest's TestReport."""

    nodeid: str
    outcome: str
    duration: float
    keywords: Mapping[str, Any]
    user_properties: list[tuple[str, Any]]


def table(reports: Iterable[Report]) -> list[str]:
    """A line for each test of the marker `soak`, one for all properties, and the sums; none without a long proof."""
    reports = list(reports)
    rows: list[tuple[str, dict[str, str]]] = []
    sums: Counter[str] = Counter()
    for report in sorted(reports, key=lambda report: report.nodeid):
        if "soak" not in report.keywords:
            continue
        counts = {name: value for name, value in report.user_properties if name in COLUMNS}
        sums.update(counts)
        sums["seconds"] += round(report.duration)
        name = report.nodeid if report.outcome == "passed" else f"{report.nodeid} ({report.outcome})"
        rows.append((name, _texts({**counts, "seconds": round(report.duration)})))
    if not rows:
        return []
    rows.append(("all of them", _texts(sums)))
    if properties := [report for report in reports if "hypothesis" in report.keywords]:
        examples = hypothesis.settings.default.max_examples
        seconds = round(sum(report.duration for report in properties))
        rows.append((f"{len(properties)} properties, each with {examples:,} examples", _texts({"seconds": seconds})))
    return _aligned([("", {name: name for name in (*COLUMNS, "seconds")}), *rows])


def _texts(counts: Mapping[str, int]) -> dict[str, str]:
    return {name: f"{value:,}" for name, value in counts.items()}


def _aligned(rows: list[tuple[str, dict[str, str]]]) -> list[str]:
    names = (*COLUMNS, "seconds")
    widths = {name: max(len(cells.get(name, "")) for _, cells in rows) for name in names}
    first = max(len(title) for title, _ in rows)
    return [
        " ".join([title.ljust(first), *(cells.get(name, "").rjust(widths[name]) for name in names)])
        for title, cells in rows
    ]
