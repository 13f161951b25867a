"""Run the mutants of the sample: `python -m tests.mutants [--jobs N] [--seconds S] [ID ...]`.

Each mutant is written into a copy of the checkout, and the tests that reach it run there until one fails: those first
that reach the fewest mutants, so say most about this one. Exits with 1 when a mutant that was killed before survives.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests import mutants
from tests.mutants import BUILD, ROOT, Mutant

MOST_TESTS = 400
RESULTS = BUILD / "results.json"
GRACE_SECONDS = 240  # beyond what the tests took when nothing was changed: a mutant that hangs is killed


class Reach:
    """Which tests run a mutant, by what tests/mutants/reach.py has written."""

    def __init__(self) -> None:
        self.lines: dict[str, set[str]] = defaultdict(set)
        self.scopes: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)
        for file in BUILD.glob("reach-*.json"):
            part = json.loads(file.read_text(encoding="utf-8"))
            for id, tests in part["lines"].items():
                self.lines[id].update(tests)
            for id, tests in part["scopes"].items():
                self.scopes[id].update(tests)
            for test, seconds in part["seconds"].items():
                self.seconds[test] += seconds
        self._reached = Counter(test for tests in self.lines.values() for test in tests)

    def tests(self, mutant: Mutant, seconds: float) -> list[str]:
        """At most so many seconds of tests, the most telling first; those of its package when none is known."""
        package = mutant.file.split("/")[1]
        reaching = self.lines[mutant.id] or self.scopes[mutant.id]
        near = [test for test in self.seconds if test.startswith(f"tests/{package}/")]

        def rank(test: str) -> tuple[bool, int, float]:
            return (test not in reaching, self._reached[test], self.seconds[test])

        chosen, left = [], seconds
        for test in sorted({*reaching, *near} - {""}, key=rank):
            left -= self.seconds[test]
            if left < 0 or len(chosen) == MOST_TESTS:
                break
            chosen.append(test)
        return chosen


def copy_of_checkout(place: Path) -> Path:
    """The tracked and new files of the checkout, and what was built of them."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for built in ("mcp_server/console/static", "mcp_server/site/static"):
        if (ROOT / built).is_dir():
            shutil.copytree(ROOT / built, place / built, dirs_exist_ok=True)
    return place


def run(mutant: Mutant, copy: Path, tests: list[str], seconds: float) -> tuple[bool, str]:
    """Whether the tests kill a mutant, and the first that failed."""
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    _write(path, mutant.apply(source))
    names = copy / "build-mutant-tests.txt"
    names.write_text("\n".join(tests), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "--tb=line",
        f"@{names}",
    ]
    try:
        done = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False,
            env={**os.environ, "PYTHONPATH": str(copy)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return True, "time"
    finally:
        _write(path, source)
    failed = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode == 0:
        return False, ""
    return True, failed[0] if failed else (done.stdout + done.stderr)[-300:]


def _write(path: Path, source: str) -> None:
    """Write a module without the bytecode of another text: that is told by size and second alone."""
    path.write_text(source, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests for each mutant")
    parser.add_argument("--go-on", action="store_true", help="leave out what the last call has tried")
    parser.add_argument("--all", action="store_true", help="also those that survived before")
    parser.add_argument("ids", nargs="*")
    asked = parser.parse_args()
    reach, lock, begun = Reach(), threading.Lock(), time.monotonic()
    chosen = [one for one in mutants.sample() if (one.id in asked.ids if asked.ids else asked.all or one.killed)]
    results: dict[str, dict[str, object]] = {}
    BUILD.mkdir(parents=True, exist_ok=True)
    if asked.go_on and RESULTS.exists():
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        Path(work).chmod(0o755)
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(asked.jobs):
            copies.put(copy_of_checkout(Path(work) / str(number)))

        def one(mutant: Mutant) -> None:
            copy = copies.get()
            try:
                killed, by = False, ""
                for seconds in (asked.seconds / 6, asked.seconds):  # the most telling tests alone first
                    tests = reach.tests(mutant, seconds)
                    if tests and not killed:
                        killed, by = run(mutant, copy, tests, seconds)
            finally:
                copies.put(copy)
            with lock:
                results[mutant.id] = {"killed": killed, "by": by}
                mark = "" if killed or not mutant.killed else "  WAS KILLED BEFORE"
                state = "killed  " if killed else "survived"
                elapsed = time.monotonic() - begun
                count = f"{len(results):3}/{len(chosen)} {elapsed:5.0f}s"
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True), encoding="utf-8")
                print(f"{count} {state} {mutant.id} {mutant.file} {by[:150]}{mark}", flush=True)

        with ThreadPoolExecutor(asked.jobs) as pool:
            list(pool.map(one, [mutant for mutant in chosen if mutant.id not in results]))
    lost = [one.id for one in chosen if one.killed and not results[one.id]["killed"]]
    killed = sum(bool(one["killed"]) for one in results.values())
    print(f"{killed} of {len(results)} killed; lost: {' '.join(lost) or 'none'}")
    return bool(lost)


if __name__ == "__main__":
    raise SystemExit(main())
