"""The spans that an engine sends to a tracing system: what it does for a call, and what workers tell of their runs.

On when the extra `otel` is there and OTEL_EXPORTER_OTLP_ENDPOINT says where to; else there is no `Spans`, and a call
pays for a comparison with None (docs/traces.md). The SDK only encodes and sends: which spans there are, and which of
them are sampled, is decided here, so nothing that is not sampled costs more than its ids, and no other library that
knows OpenTelemetry finds a tracer that would make spans beside these.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import structlog

from core import clock
from core.model import frames, trace_context
from core.model.operation import Operation
from core.model.principal import Caller, Surface
from core.model.trace_context import TraceContext

log = structlog.get_logger("core.spans")

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
MOST_WAITING = 4096  # spans, while the other side takes none; beyond it, new ones are lost and counted
MOST_AT_ONCE = 512
COLLECT_SECONDS = 0.5
CLOSE_SECONDS = 2.0

Kind = Literal["server", "internal", "producer", "consumer", "client"]
Attributes = Mapping[str, str | int]
NOTHING: Attributes = MappingProxyType({})


class Begun(NamedTuple):
    """A span that has not ended."""

    context: TraceContext
    parent: str
    """The span id of who asked; empty for the first span of a trace."""
    started_ns: int


class Span(NamedTuple):
    """One that has."""

    context: TraceContext
    parent: str
    name: str
    kind: Kind
    started_ns: int
    ended_ns: int
    attributes: Attributes
    failed: bool


class Exporter(Protocol):
    """Where spans go."""

    def export(self, spans: Sequence[Span]) -> bool:
        """Send spans, and say whether they were taken; blocks."""

    def shutdown(self) -> None:
        """Give up what is tried again."""


class Spans:
    """Use from the engine's loop."""

    def __init__(self, ratio: float, exporter: Exporter) -> None:
        self._bound = int(ratio * 2**64)
        self._exporter = exporter
        self._waiting: list[Span] = []
        self._news = asyncio.Event()
        self.lost = 0
        """Spans that nobody took."""

    def arrive(self, traceparent: str) -> Begun:
        """A call has come: in the trace of its caller, or in a new one.

        Its own flag is no order: of the traces that callers sample, as of new ones, the ratio is sampled, by trace id;
        of those that they do not sample, none.
        """
        asked = trace_context.parse(traceparent)
        trace_id = trace_context.new_trace() if asked is None else asked.trace_id
        sampled = (asked is None or asked.sampled) and int(trace_id[16:], 16) < self._bound
        context = TraceContext(trace_id, trace_context.new_span(), sampled)
        return Begun(context, "" if asked is None else asked.span_id, clock.now_ns())

    @contextmanager
    def serving(self, operation: Operation, caller: Caller) -> Iterator[Caller]:
        """Do what a call asks for as the caller that this gives, which has it in its trace."""
        begun, failed = self.arrive(caller.traceparent), True
        try:
            yield replace(caller, traceparent=str(begun.context))
            failed = False
        finally:
            name = operation.http if caller.surface is Surface.HTTP else operation.name
            if caller.surface is Surface.MCP:
                name = f"tools/call {name}"
            self.end(begun, name, "server", failed=failed)

    def within(self, traceparent: str) -> Begun | None:
        """A part of something that `arrive` has begun; None when that is not sampled."""
        outer = trace_context.parse(traceparent)
        if outer is None or not outer.sampled:
            return None
        return Begun(outer._replace(span_id=trace_context.new_span()), outer.span_id, clock.now_ns())

    def end(self, begun: Begun, name: str, kind: Kind, about: Attributes = NOTHING, *, failed: bool = False) -> None:
        """It has ended now."""
        context, parent, started = begun
        if context.sampled:
            self._add(Span(context, parent, name, kind, started, clock.now_ns(), about, failed))

    def of_run(self, traceparent: str, job: str, told: Sequence[frames.Span]) -> None:
        """What a worker tells of a run that a message has started: the run itself, and the requests that it made.

        Of a message that is not sampled it is nothing, and names and places in the tree are ours.
        """
        sent = trace_context.parse(traceparent)
        if sent is None or not sent.sampled or not told:
            return
        parent, *_ = contexts = [sent._replace(span_id=one.span) for one in told]
        for context, one in zip(contexts, told, strict=True):
            asker = sent if context is parent else parent
            name, kind, attributes = _request(one) if one.method else (f"process {job}", "consumer", NOTHING)
            self._add(Span(context, asker.span_id, name, kind, one.started_ns, one.ended_ns, attributes, one.failed))

    def _add(self, span: Span) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(span)
        self._news.set()

    async def keep(self) -> None:
        """Wait for spans, and send them; a step of `core.forever`."""
        await self._news.wait()
        await asyncio.sleep(COLLECT_SECONDS)
        await self._send()

    async def _send(self) -> None:
        self._news.clear()
        while self._waiting:
            some, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            taken = False
            try:
                taken = await asyncio.to_thread(self._exporter.export, some)
            finally:
                if not taken:
                    self.lost += len(some)

    async def close(self) -> None:
        """Send what waits, as far as it is taken at once."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send()
        except Exception as error:  # the end of an engine waits for nobody's collector
            log.warning("spans_not_sent", error=str(error), count=len(self._waiting))
        finally:
            self._exporter.shutdown()


def _request(one: frames.Span) -> tuple[str, Kind, Attributes]:
    status: Attributes = {"http.response.status_code": one.status} if one.status else {}
    return one.method, "client", {"http.request.method": one.method, **status}


def from_environment(ratio: float) -> Spans | None:
    """What the environment asks for; None when it asks for nothing, or the extra `otel` is not there."""
    if not os.environ.get(ENDPOINT):
        return None
    try:
        return Spans(ratio, _Otlp())
    except ImportError:
        log.warning(
            "no_spans", told=f"{ENDPOINT} is set, and the extra is not installed: pip install 'sluice-mcp[otel]'"
        )
        return None


class _Otlp:
    """OTLP over HTTP, as the variables OTEL_* say."""

    def __init__(self) -> None:
        """Raises ImportError without the extra."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource

        self._exporter = OTLPSpanExporter()
        self._resource = Resource({"service.name": "sluice"}).merge(OTELResourceDetector().detect())
        self.shutdown = self._exporter.shutdown

    def export(self, spans: Sequence[Span]) -> bool:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return self._exporter.export([self._readable(one) for one in spans]) is SpanExportResult.SUCCESS

    def _readable(self, span: Span) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span_id: str) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(int(span.context.trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)

        return ReadableSpan(
            span.name,
            context(span.context.span_id),
            context(span.parent) if span.parent else None,
            self._resource,
            span.attributes,
            kind=SpanKind[span.kind.upper()],
            status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
            start_time=span.started_ns,
            end_time=span.ended_ns,
        )
