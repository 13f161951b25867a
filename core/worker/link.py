"""The worker's end of the channel to its engine: what is published, in order, with its confirmations.

A published message has a sequence number; the engine confirms the highest one that is committed, and the futures up
to it end. Settlements of deliveries travel on the same stream behind the messages of their run, so the engine never
sees an acknowledgement without the message that it stands for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import orjson

from core.channel import Channel
from core.dsl.component import Outgoing
from core.errors import shorten
from core.model import frames
from core.model.letter import Posted
from core.model.states import WorkloadState
from core.model.workload import parse
from core.worker.kv import RemoteKV
from core.worker.redact import Redactor
from core.worker.runs import RunReport
from core.worker.under_way import Begun

MAX_LOG_CHARACTERS = 8192  # of one line
MAX_OUTAGE_CHARACTERS = 200  # of why a target is not reached
REPORT_SECONDS = 0.05  # ends of message-triggered runs are told together this often


class Link:
    """Sends what the workloads of one worker have to say, without the secrets that they were given."""

    def __init__(self, channel: Channel, redactors: dict[str, Redactor]) -> None:
        self._redactors = redactors  # by tenant; only of those whose jobs were given a secret
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._sequence = 0
        self._unconfirmed: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._last: frames.Publish | None = None  # not sent yet: it may be what its run ends with
        self._tick_ends = False  # then it is sent at the latest
        self._runs: dict[tuple[str, bool], frames.Run] = {}  # by workload, and whether they came to a good end
        self._runs_timer: asyncio.TimerHandle | None = None

    def publish(self, workload: str, message: Outgoing) -> asyncio.Future[None]:
        """Send a message of a workload; the future ends when the engine has committed it."""
        self._sequence += 1
        data, tag = orjson.dumps(message.data), message.tag
        if (redactor := self.redactor(workload)) is not None:
            tag = redactor.text(tag)
            if redactor.may_be_in(data.decode()):
                data = orjson.dumps(redactor.value(message.data))
        kind, type, variable = message.kind, message.type, message.variable
        self._send_last()
        if not self._tick_ends:
            self._tick_ends = True
            self._loop.call_soon(self._end_tick)
        self._last = frames.Publish(self._sequence, workload, kind, type, tag, frames.Json(data), variable)
        future: asyncio.Future[None] = self._loop.create_future()
        self._unconfirmed.append((self._sequence, future))
        return future

    def _send(self, frame: frames.Frame) -> None:
        self._send_last()
        self._channel.send(frames.encode(frame))

    def _end_tick(self) -> None:
        self._tick_ends = False
        self._send_last()

    def _send_last(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            self._channel.send(frames.encode(last))

    def _clean(self, workload: str, text: str) -> str:
        redactor = self.redactor(workload)
        return text if redactor is None else redactor.text(text)

    def confirmed(self, sequence: int) -> None:
        while self._unconfirmed and self._unconfirmed[0][0] <= sequence:
            future = self._unconfirmed.popleft()[1]
            if not future.done():
                future.set_result(None)

    async def letters(self, workload: str, dropped: int, letters: Sequence[Posted]) -> Sequence[int | bool]:
        """Post dead letters and the count of those that were dropped: (kept, dropped, full), when they are written."""
        self._send_last()
        return await self._channel.call("letters", [workload, dropped, msgspec.to_builtins(letters)])  # type: ignore[no-any-return]

    def redactor(self, workload: str) -> Redactor | None:
        """What takes out of values the secrets that the jobs of this tenant were given; None when there were none."""
        return self._redactors.get(parse(workload).tenant) if self._redactors else None

    def kv(self, workload: str) -> RemoteKV:
        """The KV store for one workload."""
        return RemoteKV(self._channel, workload, self._clean)

    def settle(self, workload: str, delivery_id: int, reason: str | None, spans: tuple[frames.Span, ...]) -> None:
        if self._last is not None and not reason and not spans:
            self._last.settles = delivery_id
            self._send_last()
            return
        reason = self._clean(workload, reason) if reason else reason
        self._send(frames.Settle(delivery_id, reason, spans))

    def status(self, workload: str, version: str, state: WorkloadState, reason: str, restarts: int) -> None:
        self._send(frames.Status(workload, version, state, self._clean(workload, reason), restarts))

    def timetable(self, frame: frames.Fired | frames.Missed) -> None:
        """Tell what the timetable of a workload does."""
        self._send(frame)

    def run_began(self, workload: str, begun: Begun) -> None:
        """Tell of a run that is under way."""
        told = (
            begun.run,
            begun.trigger,
            begun.started_ns,
            begun.delivery,
            begun.cause,
            begun.scheduled_ns,
            begun.order,
        )
        self._send(frames.Began(workload, *told))

    def clean(self, workload: str, text: str, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A line of a log as others may see it; the fields of one that is too long say so (`truncated`), with how many
        characters it had."""
        whole = len(text)
        if (redactor := self.redactor(workload)) is not None:
            text, fields = redactor.beginning(text, MAX_LOG_CHARACTERS), redactor.value(fields)
        if whole > MAX_LOG_CHARACTERS:
            return text[:MAX_LOG_CHARACTERS], {**fields, "truncated": {"of": whole}}
        return text, fields

    def beat(self, figures: dict[str, frames.Figures]) -> None:
        """A sign of life, with the figures of the workloads that have new ones."""
        self._send(frames.Beat({workload: self._clean_figures(workload, one) for workload, one in figures.items()}))

    def _clean_figures(self, workload: str, figures: frames.Figures) -> frames.Figures:
        source, sink = figures.input_outage, figures.output_outage
        if source is None and sink is None:
            return figures
        clean = partial(self._clean_outage, workload)
        return msgspec.structs.replace(figures, input_outage=clean(source), output_outage=clean(sink))

    def _clean_outage(self, workload: str, outage: frames.TargetOutage | None) -> frames.TargetOutage | None:
        if outage is None:
            return None
        reason = shorten(self._clean(workload, outage.reason), MAX_OUTAGE_CHARACTERS)
        return msgspec.structs.replace(outage, reason=reason)

    def logs(self, lines: frames.Logs) -> None:
        """Send lines that are clean."""
        self._send(lines)

    def run_ended(self, workload: str, report: RunReport) -> None:
        """Tell of the end of a firing; message-triggered ones, which can be thousands, are summed up: those that failed
        apart from the others, so that each sum says what its runs did."""
        if self._redactors and report.reason:
            report = report._replace(reason=self._clean(workload, report.reason))
        if report.trigger != "message" or report.told or report.canceled:
            self._send(_run(workload, report))
            return
        known = self._runs.get((workload, report.ok))
        if known is None:
            self._runs[workload, report.ok] = _run(workload, report)
        else:
            known.runs += 1
            known.run = ""
            known.failed += not report.ok
            known.ended_ns = report.ended_ns
            known.events_in += report.events_in
            known.events_out += report.events_out
            known.errors += report.errors
            known.refused += report.refused
            known.skipped += report.skipped
            known.reason = report.reason or known.reason
        if self._runs_timer is None:
            self._runs_timer = self._loop.call_later(REPORT_SECONDS, self._tell_runs)

    def _tell_runs(self) -> None:
        self._runs_timer = None
        for run in self._runs.values():
            self._send(run)
        self._runs.clear()

    def close(self) -> None:
        self._send_last()
        if self._runs_timer is not None:
            self._runs_timer.cancel()
            self._tell_runs()
        for _, future in self._unconfirmed:
            future.cancel()
        self._unconfirmed.clear()


def _run(workload: str, report: RunReport) -> frames.Run:
    return frames.Run(
        workload,
        1,
        report.trigger,
        report.started_ns,
        report.ended_ns,
        report.events_in,
        report.events_out,
        report.errors,
        report.ok,
        report.reason,
        report.cause,
        report.scheduled_ns,
        report.order,
        report.run_id,
        int(not report.ok and not report.canceled),
        report.canceled,
        report.refused,
        report.skipped,
    )
