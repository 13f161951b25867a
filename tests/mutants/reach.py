"""A pytest plugin: which tests reach which mutants of the sample, by line where that says something, else by scope.

Lines are seen in the process of the tests alone; for what runs in worker processes, `python -m tests.mutants` falls
back on the tests of the same package. Needs Python 3.12 (PEP 669). Durations of tests are noted beside.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType
from typing import Any

import pytest

from tests import mutants

TOOL = 4


class _Seen:
    def __init__(self) -> None:
        self.test = ""
        self.lines: dict[str, set[str]] = defaultdict(set)
        self.scopes: dict[str, set[str]] = defaultdict(set)
        self._by_file: dict[str, list[tuple[mutants.Mutant, int, int]]] = defaultdict(list)
        self._at: dict[CodeType, dict[int, list[str]]] = {}
        for one in mutants.sample():
            path = mutants.ROOT / one.file
            first = one.first_line(path.read_text(encoding="utf-8"))
            self._by_file[str(path)].append((one, first, first + one.before.count("\n")))

    def started(self, code: CodeType, offset: int) -> Any:
        """A function starts: if mutants are in it, its lines are watched from now on."""
        for one, first, last in self._by_file.get(code.co_filename, ()):
            if one.scope == code.co_qualname.replace(".<locals>", ""):
                self.scopes[one.id].add(self.test)
            if code not in self._at or any(first <= line <= last for line in self._numbers(code)):
                for line in self._numbers(code):
                    if first <= line <= last:
                        ids = self._at.setdefault(code, {}).setdefault(line, [])
                        if one.id not in ids:
                            ids.append(one.id)
        if code in self._at:
            sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.LINE)
        return sys.monitoring.DISABLE

    def line(self, code: CodeType, number: int) -> Any:
        for id in self._at.get(code, {}).get(number, ()):
            self.lines[id].add(self.test)
        return sys.monitoring.DISABLE

    def _numbers(self, code: CodeType) -> set[int]:
        return {line for _, _, line in code.co_lines() if line}


_seen: list[_Seen] = []
_seconds: dict[str, float] = defaultdict(float)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER") or not config.getoption("numprocesses", None):
        _seen.append(_Seen())
        monitoring = sys.monitoring
        monitoring.use_tool_id(TOOL, "mutants")
        monitoring.register_callback(TOOL, monitoring.events.PY_START, _seen[0].started)
        monitoring.register_callback(TOOL, monitoring.events.LINE, _seen[0].line)
        monitoring.set_events(TOOL, monitoring.events.PY_START)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if _seen:
        _seen[0].test = item.nodeid
        sys.monitoring.restart_events()
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if _seen:
        _seconds[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
    if _seen:
        sys.monitoring.set_events(TOOL, 0)
        mutants.BUILD.mkdir(parents=True, exist_ok=True)
        by = {"lines": _seen[0].lines, "scopes": _seen[0].scopes}
        text = json.dumps({key: {id: sorted(tests) for id, tests in value.items()} for key, value in by.items()})
        whole = {**json.loads(text), "seconds": _seconds}
        (mutants.BUILD / f"reach-{os.getpid()}.json").write_text(json.dumps(whole), encoding="utf-8")
