"""What jobs wrote to their logs, as their workers sent it: all of it goes to the logbook, the last lines stay here."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core import clock
from core.model import frames
from core.model.log_line import LogLine
from core.model.log_lines import Bundle
from core.store import log_chunks
from core.store.log_chunks import Source
from core.store.log_rows import Range
from core.store.log_search import Held
from core.store.logbook import Logbook

if TYPE_CHECKING:
    from core.model.results import jobs

LOG_LINES = 500  # of one workload
LOG_BYTES = 128 * 1024
MOST_LOGS = 5000  # workloads whose lines are kept, also when they are gone


class _Last:
    """The last lines of one log, as they came, bounded in number and in size."""

    __slots__ = ("_lines", "_size", "kept", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.kept: deque[Bundle] = deque()
        self._lines = 0
        self._size = 0

    def add(self, bundle: Bundle) -> None:
        self.kept.append(bundle)
        self._lines += bundle.lines
        self._size += bundle.size
        while len(self.kept) > 1 and (
            self._lines - self.kept[0].lines >= LOG_LINES or self._size - self.kept[0].size >= LOG_BYTES
        ):
            gone = self.kept.popleft()
            self._lines -= gone.lines
            self._size -= gone.size


class JobLogs:
    """The last lines of every workload, and who waits for one."""

    def __init__(self, book: Logbook) -> None:
        self.book = book
        self._last: dict[str, _Last] = {}
        self._watchers: dict[asyncio.Event, Range] = {}

    def add(self, source: Source, at_ns: int, level: str, text: str, fields: dict[str, Any]) -> None:
        """Take one line of ours."""
        self._keep(source, self.book.add(source, at_ns, level, text, fields))

    def take(self, source: Source, told: frames.Lines) -> None:
        """Take lines as a worker sent them, unread."""
        lines = max(1, min(told.lines, len(memoryview(told.text))))  # other numbers are wrong, and told as malformed
        self._keep(source, self.book.take(source, lines, told.columns, told.text))

    def broke_off(self, source: Source, heard_ns: int) -> None:
        """The worker of a workload that was at work is gone, and has not said that it has sent everything; it was heard
        at `heard_ns` for the last time."""
        kept = self.held(source.workload)
        since = kept[-1].last_seq if kept else heard_ns  # a seq is the time at which a line was taken, or just after it
        now = clock.now_ns()
        self._keep(source, self.book.broke_off(source, "worker", min(since, now), now))

    def _keep(self, source: Source, bundle: Bundle) -> None:
        last = self._last.get(source.workload)
        if last is None:
            if len(self._last) >= MOST_LOGS:
                del self._last[next(iter(self._last))]
            last = self._last[source.workload] = _Last(source)
        last.source = source
        last.add(bundle)
        for arrived, within in self._watchers.items():
            if not arrived.is_set() and within.names(source):
                arrived.set()

    def left_out(self, *, too_many: int, slow_engine: int) -> None:
        """Count lines that a worker has not sent; the logs themselves tell of them."""
        if too_many:
            self.book.dropped["too-many"] += too_many
        if slow_engine:
            self.book.dropped["slow-engine"] += slow_engine

    def held(self, workload: str) -> list[Bundle]:
        """The last lines of one workload as they came, the oldest first."""
        last = self._last.get(workload)
        return list(last.kept) if last is not None else []

    def of(self, workload: str) -> list[LogLine]:
        """The last lines of one workload, the oldest first."""
        lines: list[LogLine] = []
        for bundle in self.held(workload):
            with contextlib.suppress(ValueError):  # which the logbook counts
                lines += log_chunks.of_bundle(bundle).lines()
        return lines[-LOG_LINES:]

    def last_warning(self, workload: str) -> str:
        """The text of the last warning, or worse, among the last lines of a workload; empty when there is none.

        What is said of lines that are missing is none of the job, and of a line that names a condition, that one tells.
        """
        lines = (line for line in reversed(self.of(workload)) if line.level in ("warning", "error"))
        return next((line.text for line in lines if line.fields.keys().isdisjoint(("dropped", "condition"))), "")

    def workloads(self, tenant: str, job: str) -> list[str]:
        """The ids of a job's replicas that have lines here, also of those that are gone."""
        start = f"{tenant}/{job}#"
        return [id for id in self._last if id.startswith(start)]

    def seq(self, tenant: str, job: str) -> int:
        """The seq of the last line of a job that came since the engine has started; 0 when there is none."""
        ids = self.workloads(tenant, job)
        return max((bundle.last_seq for id in ids for bundle in self.held(id)[-1:]), default=0)

    def beside(self, within: Range) -> list[Held]:
        """The lines here that may be in a range: what could not be written, as on a full disk, is in memory alone."""
        return [
            (id, bundle)
            for id, last in self._last.items()
            if last.kept[-1].last_seq > within.after and within.names(last.source)
            for bundle in last.kept
        ]

    @contextmanager
    def watch(self, within: Range) -> Iterator[asyncio.Event]:
        """An event that is set by the next lines of workloads that a range names."""
        arrived = asyncio.Event()
        self._watchers[arrived] = within
        try:
            yield arrived
        finally:
            del self._watchers[arrived]


def to_answer(workload: str, line: LogLine) -> jobs.LogLine:
    """A line as operations answer it."""
    out: jobs.LogLine = {"workload": workload, "at": clock.iso(line.at_ns), "level": line.level, "text": line.text}
    if line.fields:
        out["fields"] = line.fields
    if line.in_run.run:
        out["run"] = line.in_run.run
    if line.in_run.invocation:
        out["invocation"] = line.in_run.invocation
    return out
