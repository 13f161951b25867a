"""The logs of the jobs of one worker: every line goes to the engine, at a bounded rate; what is beyond it is told.

A log never holds up its job: a line that is too many is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core import clock
from core.worker.link import Link

LINES_PER_SECOND = 500  # of one job, in the long run
BURST = 5000  # lines at once, after a time with few
KEPT_FOR_WARNINGS = BURST // 10  # of them


@dataclass(slots=True)
class _Log:
    room: float  # lines that may be sent now
    at_ns: int
    dropped: int = 0
    first_ns: int = 0  # of those that were dropped
    last_ns: int = 0


class Journal:
    """Made by the runtime; `link` is asked for when a line comes, because it exists only while the worker serves."""

    def __init__(self, link: Callable[[], Link], now_ns: Callable[[], int] = clock.now_ns) -> None:
        self._link = link
        self._now_ns = now_ns
        self._logs: dict[str, _Log] = {}

    def write(self, workload: str, level: str, text: str, fields: dict[str, Any] | None = None) -> None:
        """Send one line, or count it; a number of dropped ones is a line of its own, before the next that is sent."""
        now = self._now_ns()
        log = self._logs.get(workload)
        if log is None:
            log = self._logs[workload] = _Log(BURST, now)
        log.room = min(BURST, log.room + max(0, now - log.at_ns) * LINES_PER_SECOND / clock.NANOSECONDS)
        log.at_ns = now
        if log.room < (1 if level in ("warning", "error") else KEPT_FOR_WARNINGS):
            log.first_ns = log.first_ns if log.dropped else now
            log.last_ns = now
            log.dropped += 1
            return
        log.room -= 1
        link = self._link()
        if log.dropped:
            self._tell(link, workload, log)
        text, given = link.clean(workload, text, fields or {})
        link.log(workload, now, level, text, given)

    def _tell(self, link: Link, workload: str, log: _Log) -> None:
        between = {"from": clock.iso(log.first_ns), "to": clock.iso(log.last_ns)}
        fields = {"dropped": {"count": log.dropped, **between, "reason": "too-many"}}
        text = f"{log.dropped} log lines were left out: there were too many"
        link.log(workload, log.last_ns, "warning", text, fields)
        log.dropped = 0

    def forget(self, workload: str) -> None:
        """The worker runs it no more."""
        log = self._logs.pop(workload, None)
        if log is not None and log.dropped:
            self._tell(self._link(), workload, log)
