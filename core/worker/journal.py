"""The logs of the jobs of one worker: lines are gathered and go to the engine together, at a bounded rate and within
bounded memory; what is beyond it is told.

A log never holds up its job: a line that is too many, or that the engine is too slow for, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core import clock
from core.model import frames
from core.model.log_line import InRun
from core.model.log_lines import Gathered
from core.worker import in_run
from core.worker.link import Link

LINES_PER_SECOND = 2_000  # of one job, in the long run
BURST = 20_000  # lines at once, after a time with few
SEND_SECONDS = 0.1  # that a line waits at most for others
SEND_BYTES = 64 * 1024  # of lines, that are sent at once
LOG_BYTES = 1024 * 1024  # of one job, that wait to be sent
WORKER_BYTES = 8 * 1024 * 1024  # of all of them
UNCONFIRMED_BYTES = 1024 * 1024  # that the engine was sent and has not taken yet
KEPT_FOR_WARNINGS = 0.1  # of each of these rooms: what is less than a warning is dropped first
TELL_NS = clock.NANOSECONDS  # between two lines that tell of dropped ones, while more are
LOUD = frozenset({"warning", "error"})
TOO_MANY, SLOW_ENGINE = "too-many", "slow-engine"
WHY = {TOO_MANY: "there were too many", SLOW_ENGINE: "the engine had not taken those before"}


@dataclass(slots=True)
class _Dropped:
    """Lines of one log in a row that were dropped for one reason."""

    reason: str
    first_ns: int
    last_ns: int
    count: int = 0


@dataclass(slots=True)
class _Log:
    workload: str
    room: float  # lines that may be taken now
    at_ns: int  # when it was filled last
    gathered: Gathered = field(default_factory=Gathered)
    dropped: _Dropped | None = None

    def fill(self, now_ns: int) -> float:
        """Give it the room that has come since it was filled last; how much it has."""
        self.room = min(BURST, self.room + max(0, now_ns - self.at_ns) * LINES_PER_SECOND / clock.NANOSECONDS)
        self.at_ns = now_ns
        return self.room


class Journal:
    """Made by the runtime; `link` is asked for when lines are sent, because it exists only while the worker serves."""

    def __init__(self, link: Callable[[], Link], now_ns: Callable[[], int] = clock.now_ns) -> None:
        self._link = link
        self._now_ns = now_ns
        self._logs: dict[str, _Log] = {}
        self._waiting: dict[str, _Log] = {}  # those with lines to be sent, who has waited longest first
        self._dropping: dict[str, _Log] = {}  # those with dropped lines that are not told
        self._size = 0  # of what waits, in bytes
        self._sent: dict[int, int] = {}  # sequence number -> bytes, of what the engine has not taken yet
        self._sent_size = 0
        self._sequence = 0
        self._left_out = {TOO_MANY: 0, SLOW_ENGINE: 0}  # lines that the engine was not told of
        self._timer: asyncio.TimerHandle | None = None

    def of(self, workload: str) -> Callable[..., None]:
        """What writes lines of a workload, `(level, text, **fields)`, from any thread. Called on the loop.

        Each line is of the run in which it is written (core.worker.in_run), if it is in one.
        """
        loop, own = asyncio.get_running_loop(), threading.get_ident()

        def log(level: str, text: str, **fields: Any) -> None:
            if threading.get_ident() == own:
                self.write(workload, level, text, fields)
            else:  # `write` finds the run of this thread, for it is called in the context of this call
                loop.call_soon_threadsafe(self.write, workload, level, text, fields)

        return log

    def write(
        self, workload: str, level: str, text: str, fields: dict[str, Any] | None = None, of_run: InRun | None = None
    ) -> None:
        """Take one line, or count it; it is of the run in which this is called, unless one is given. On the loop."""
        now = self._now_ns()
        log = self._logs.get(workload)
        if log is None:
            log = self._logs[workload] = self._waiting.get(workload) or _Log(workload, BURST, now)
        kept = 0.0 if level in LOUD else KEPT_FOR_WARNINGS
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SEND_SECONDS, self._due)
        if log.room < max(1.0, kept * BURST) and not log.fill(now) >= max(1.0, kept * BURST):
            self._drop(log, TOO_MANY, now)
        elif log.gathered.size > LOG_BYTES * (1 - kept) or self._size > WORKER_BYTES * (1 - kept):
            self._drop(log, SLOW_ENGINE, now)
        else:
            log.room -= 1
            if log.dropped is not None and now - log.dropped.first_ns >= TELL_NS:
                self._tell(log)
            text, given = self._link().clean(workload, text, fields or {})
            if not log.gathered.size:  # what `_add` does, without the call: for each line
                self._waiting[log.workload] = log
            self._size += log.gathered.add(now, level, text, given, of_run or in_run.of(workload))
            if self._size >= SEND_BYTES:
                self.flush()

    def _add(self, log: _Log, at_ns: int, level: str, text: str, fields: dict[str, Any]) -> None:
        if not log.gathered.size:
            self._waiting[log.workload] = log
        self._size += log.gathered.add(at_ns, level, text, fields)

    def _drop(self, log: _Log, reason: str, now: int) -> None:
        if log.dropped is not None and log.dropped.reason != reason:
            self._tell(log)
        if log.dropped is None:
            log.dropped = _Dropped(reason, now, now)
            self._dropping[log.workload] = log
        log.dropped.count += 1
        log.dropped.last_ns = now
        self._left_out[reason] += 1

    def _tell(self, log: _Log) -> None:
        """Write a line that says how many were dropped. It is taken in any case, and there are few of them."""
        dropped, log.dropped = log.dropped, None
        self._dropping.pop(log.workload, None)
        if dropped is None:
            return
        between = {"from": clock.iso(dropped.first_ns), "to": clock.iso(dropped.last_ns)}
        fields = {"dropped": {"count": dropped.count, **between, "reason": dropped.reason}}
        text = f"{dropped.count} log lines were left out: {WHY[dropped.reason]}"
        self._add(log, dropped.last_ns, "warning", text, fields)

    # -- to the engine -------------------------------------------------------------------------------------

    def _due(self) -> None:
        self._timer = None
        quiet = self._now_ns() - int(SEND_SECONDS * clock.NANOSECONDS)
        for log in list(self._dropping.values()):
            if log.dropped is None or log.dropped.last_ns <= quiet or quiet - log.dropped.first_ns >= TELL_NS:
                self._tell(log)
        self.flush()
        if self._waiting or self._dropping:
            self._timer = asyncio.get_running_loop().call_later(SEND_SECONDS, self._due)

    def flush(self) -> None:
        """Send what waits, in frames of about SEND_BYTES, until so much is under way as may be."""
        while self._waiting and self._sent_size < UNCONFIRMED_BYTES:
            self._send()

    def _send(self) -> None:
        parts: list[frames.Lines] = []
        size = 0
        while self._waiting and size < SEND_BYTES:
            workload = next(iter(self._waiting))
            log = self._waiting.pop(workload)
            lines, log.gathered = log.gathered, Gathered()
            columns, text = frames.Json(lines.columns()), frames.Json(lines.text())
            parts.append(frames.Lines(workload, len(lines), columns, text))
            size += lines.size
        self._sequence += 1
        self._sent[self._sequence] = size
        self._sent_size += size
        self._size -= size
        self._link().logs(frames.Logs(self._sequence, parts, self._left_out[TOO_MANY], self._left_out[SLOW_ENGINE]))
        self._left_out = {TOO_MANY: 0, SLOW_ENGINE: 0}

    def taken(self, sequence: int) -> None:
        """The engine has taken lines, up to a sequence number."""
        for number in [number for number in self._sent if number <= sequence]:
            self._sent_size -= self._sent.pop(number)
        if self._size >= SEND_BYTES:
            self.flush()

    def forget(self, workload: str) -> None:
        """The worker runs it no more."""
        log = self._logs.pop(workload, None)
        if log is not None:
            self._tell(log)
            self.flush()

    def close(self) -> None:
        """Send all that there is: who ends waits for nobody."""
        if self._timer is not None:
            self._timer.cancel()
        for log in list(self._dropping.values()):
            self._tell(log)
        while self._waiting:
            self._send()
