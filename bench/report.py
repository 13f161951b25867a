"""What a run found: rows with ours, the floor and the ratio that is to be held; printed as a table or as JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. The target bounds the ratio ours / floor, or `ours` itself where there is no floor."""

    what: str
    unit: str
    ours: float | None
    floor: float | None = None
    target: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.ours is None or not self.floor else self.ours / self.floor

    @property
    def met(self) -> bool | None:
        """None where nothing is asked or nothing was measured."""
        value = self.ours if self.floor is None else self.ratio
        if value is None or self.target is None:
            return None
        return value >= self.target if self.more_is_better else value <= self.target

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


HEAD = ("", "ours", "floor", "ratio", "target", "met")


def table(rows: Sequence[Row]) -> str:
    """The rows as text with aligned columns."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    out = []
    for number, cells in enumerate(lines):
        first, *rest = cells
        texts = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        out.append("  ".join(texts).rstrip())
        if number == 0:
            out.append("  ".join("-" * width for width in widths))
    return "\n".join(out)


def _cells(row: Row) -> tuple[str, ...]:
    sign = ">=" if row.more_is_better else "<="
    mark = "" if row.floor is None else "x"
    return (
        f"{row.what} [{row.unit}]" + (f" ({row.note})" if row.note else ""),
        _number(row.ours),
        _number(row.floor),
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        "" if row.target is None else f"{sign} {_number(row.target)}{mark}",
        {True: "yes", False: "NO", None: ""}[row.met],
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def machine(folder: Path) -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "fsync_ms": round(_fsync_ms(folder), 3),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _fsync_ms(folder: Path) -> float:
    """The median time of a 4 KiB append with fdatasync."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(200):
            started = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return median(times) * 1e3
