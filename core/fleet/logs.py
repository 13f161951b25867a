"""What jobs wrote to their logs, as their workers sent it: kept until the engine ends, also when the worker is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from core import clock
from core.worker.journal import Line, Lines

LOG_LINES = 500  # of one workload
MOST_LOGS = 5000  # workloads whose lines are kept, also when they are gone


class JobLogs:
    """The last lines of every workload."""

    def __init__(self) -> None:
        self._lines: dict[str, Lines] = {}
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def add(self, workload: str, at_ns: int, level: str, text: str, fields: dict[str, Any]) -> None:
        lines = self._lines.get(workload)
        if lines is None:
            if len(self._lines) >= MOST_LOGS:
                del self._lines[next(iter(self._lines))]
            lines = self._lines[workload] = Lines(LOG_LINES)
        lines.add((at_ns, level, text, fields))
        for waiter in self._waiters.get(workload, ()):
            waiter.set()

    def of(self, workload: str) -> list[Line]:
        """The lines of one workload, the oldest first."""
        return list(self._lines.get(workload, ()))

    def workloads(self, tenant: str, job: str) -> list[str]:
        """The ids of a job's replicas that have lines here, also of those that are gone."""
        start = f"{tenant}/{job}#"
        return [id for id in self._lines if id.startswith(start)]

    def last(self, workloads: Iterable[str], limit: int) -> list[dict[str, Any]]:
        """The last lines of these workloads together, the oldest first."""
        lines = sorted(((line, id) for id in workloads for line in self._lines.get(id, ())), key=lambda one: one[0][0])
        return [to_answer(id, line) for line, id in lines[-limit:]] if limit else []

    @contextmanager
    def watch(self, workloads: Sequence[str]) -> Iterator[asyncio.Event]:
        """An event that is set by the next line of any of these workloads."""
        arrived = asyncio.Event()
        for id in workloads:
            self._waiters.setdefault(id, set()).add(arrived)
        try:
            yield arrived
        finally:
            for id in workloads:
                self._waiters[id].discard(arrived)
                if not self._waiters[id]:
                    del self._waiters[id]


def to_answer(workload: str, line: Line) -> dict[str, Any]:
    """A line as operations answer it."""
    at_ns, level, text, fields = line
    out = {"workload": workload, "at": clock.iso(at_ns), "level": level, "text": text}
    return {**out, "fields": fields} if fields else out
