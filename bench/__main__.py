"""The command: `python -m bench [SUITE] [--json] [--folder DIR]`, with one of SUITES or all of them."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from bench.measure import FULL, SMALLEST
from bench.report import Row, machine, table

SUITES = (
    *("invoke", "tools", "data", "kafka", "calls", "texts", "workers", "fleet"),
    *("plan", "logs", "idle", "streams", "console", "backup"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run suites and print what they found; 0 whatever the figures are, for benchmarks gate nothing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Our path beside the floor, in one run.")
    parser.add_argument("suite", nargs="?", default="all", choices=(*SUITES, "all"))
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--smallest", action="store_true", help="the least work that shows that everything runs")
    parser.add_argument("--folder", type=Path, help="where to work; must be on the disk to be measured")
    given = parser.parse_args(arguments)
    suites = SUITES if given.suite == "all" else (given.suite,)
    scale = SMALLEST if given.smallest else FULL
    found: dict[str, list[Row]] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", dir=given.folder) as name:
        folder = Path(name)
        about = machine(folder)
        for suite in suites:
            sys.stderr.write(f"{suite} …\n")
            (folder / suite).mkdir()
            module = importlib.import_module(f"bench.{suite}")
            found[suite] = asyncio.run(module.measure(scale, folder / suite))
    about["seconds"] = round(time.perf_counter() - started, 1)
    _show(about, found, as_json=given.json)
    return 0


def _show(about: dict[str, Any], found: dict[str, list[Row]], *, as_json: bool) -> None:
    if as_json:
        suites = {suite: [row.to_dict() for row in rows] for suite, rows in found.items()}
        text = orjson.dumps({"machine": about, "suites": suites}, option=orjson.OPT_INDENT_2)
        sys.stdout.write(text.decode() + "\n")
        return
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    for suite, rows in found.items():
        print(f"\n{suite}\n{table(rows)}")


if __name__ == "__main__":
    sys.exit(main())
