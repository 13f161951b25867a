"""A small receiver of OTLP over HTTP for tests: it decodes the spans that it is sent."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.dsl import web


class Heard(NamedTuple):
    """One span."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]
    started_ns: int
    ended_ns: int


@dataclass
class Receiver:
    endpoint: str
    spans: list[Heard] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    async def take(request: web.Request, writer: asyncio.StreamWriter) -> None:
        zipped = request.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(request.body) if zipped else request.body
        heard.bodies.append(body)
        asked = ExportTraceServiceRequest.FromString(body)
        for resource in asked.resource_spans:
            for scope in resource.scope_spans:
                heard.spans += map(_heard, scope.spans)
        writer.write(web.answer(200, b"", content_type="application/x-protobuf"))

    async with web.serve(take) as site:
        heard = Receiver(site.url("").rstrip("/"))
        yield heard


def _heard(span: Span) -> Heard:
    kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
    values = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Heard(span.name, kind, *ids, values, span.start_time_unix_nano, span.end_time_unix_nano)
