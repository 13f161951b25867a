"""The splunk-hec output: events for the HTTP Event Collector of Splunk."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import httpx
import orjson
from pydantic import Field

from core.dsl.component import REGISTRY, Batch, Env, Event, Output, Run
from core.dsl.connections import http
from core.dsl.connections.http_auth import filled
from core.dsl.events import select
from core.dsl.events.select import MISSING, Selector
from core.dsl.files import preprocess
from core.dsl.language import templates
from core.dsl.outputs import batching, content
from core.errors import JobFailed, shorten
from core.guard import egress
from core.model.letter import Code

PATH = "/services/collector/event"


@REGISTRY.register("splunk-hec")
class SplunkHec(http.Requests, Output):
    """Send events to an HTTP Event Collector, each in its envelope; a batch is one request.

    An event counts as delivered when the collector answers 200. When it cannot be reached or answers 408, 429 or 5xx
    (it is busy), the request is tried again as `retry` says; then, and at once for any other status such as 403 for a
    wrong token, the job fails and is restarted. A single event that the collector calls invalid is counted as an error
    and left out, and the others are sent again. Indexer acknowledgement is not used: the token must not require it.
    """

    spellings: ClassVar = {"address": "url"}
    connects_to: ClassVar[str] = "Splunk server"
    example: ClassVar[str] = """
name: to-splunk
input: {echo: {event: '{"host": "web1", "text": "started"}', json: true}}
output:
  splunk-hec:
    url: https://splunk.example.com:8088
    token: "${dyn|SPLUNK_TOKEN}"
    index: main
    sourcetype: app:events
    host: "${host}"
    batch: {mode: fixed, fixed-size: 500, timeout: 5s}
    gzip: true
    retry: {retries: 5, timeout: 60s}
"""

    token: templates.Text
    """The token; give it as `${secret|…}` or `${dyn|…}`, not as text."""
    index: templates.Text = ""
    """The index; this and the next three may hold `${field}`, and are left out of the envelope when empty."""
    source: templates.Text = ""
    """The source."""
    sourcetype: templates.Text = ""
    """The source type."""
    host: templates.Text = ""
    """The host."""
    fields: dict[str, templates.Text] = Field(default_factory=dict)
    """Indexed fields."""
    time_field: Selector | None = None
    """The field with the time in seconds since 1970, a number or a text with one. Missing or anything else: the
    collector takes the time of arrival, and anything else is counted as an error."""
    input_field: Selector | None = None
    """Send only this field; an event without it is counted as an error and not sent."""
    batch: batching.Grouping | None = None
    """Put several events into one request."""
    gzip: bool = False
    """Compress the requests."""

    def open(self, env: Env) -> SplunkSink:
        return SplunkSink(self, env)


class SplunkSink:
    """One request at a time, in order."""

    def __init__(self, config: SplunkHec, env: Env) -> None:
        self._config = config
        self._env = env
        self._client = http.Client(config, env, "splunk-hec")
        self._token = templates.template(config.token, env)
        metadata = {
            "index": config.index,
            "source": config.source,
            "sourcetype": config.sourcetype,
            "host": config.host,
        }
        self._metadata = http.texts({name: text for name, text in metadata.items() if text}, env)
        self._fields = http.texts(config.fields, env)
        self._time = select.getter(select.parse(config.time_field)) if config.time_field else None
        self._get = select.getter(select.parse(config.input_field)) if config.input_field else None
        self._batcher = batching.Batcher(config.batch, self._send)

    async def write(self, batch: Batch, run: Run) -> None:
        items = [
            batching.Item(event, data) for event in batch.events if (data := self._envelope(event, run)) is not None
        ]
        await self._batcher.add(items, batch, run)

    def _envelope(self, event: Event, run: Run) -> bytes | None:
        value: Any = event if self._get is None else self._get(event)
        if value is MISSING or value is None or value == "":
            why = f"splunk-hec: the event has no field {self._config.input_field}"
            run.leave_out(self._env, Code.NO_FIELD, why, event)
            return None
        metadata = content.filled(self._metadata, event, self._env, run, "splunk-hec")
        if metadata is None:
            return None
        fields = content.filled(self._fields, event, self._env, run, "splunk-hec: fields")
        if fields is None:
            return None
        out: dict[str, Any] = {name: text for name, text in metadata.items() if text}
        if self._time is not None:
            time = self._time(event)
            if _is_time(time):
                out["time"] = time
            elif time is not MISSING:
                run.refuse(
                    self._env, f"splunk-hec: {self._config.time_field} is no time in seconds: {shorten(time, 60)}"
                )
        if self._config.fields:
            out["fields"] = fields
        out["event"] = value
        try:
            return orjson.dumps(out)
        except TypeError as error:
            why = f"splunk-hec: the event cannot be written as JSON: {error}"
            run.leave_out(self._env, Code.NOT_JSON, why, event)
            return None

    async def _send(self, groups: list[list[batching.Item]], run: Run) -> None:
        for group in groups:
            left = group
            while left:
                data = b"\n".join([item.data for item in left])
                headers = {"content-type": "application/json"}
                if self._config.gzip:
                    headers["content-encoding"] = "gzip"
                    data = await asyncio.to_thread(preprocess.encode, ["gzip"], data)
                try:
                    reply = await self._request(left[0].event, run, data, headers)
                except http.Unsendable as fault:  # the first one fills in the address and the headers of all
                    run.leave_out(self._env, fault.refused, f"splunk-hec: {fault.message}", left[0].event)
                    left = left[1:]
                    continue
                run.bytes_out += len(data)
                if reply.status == 200:
                    break
                number, why = _invalid(reply)
                refused = [item.event for at, item in enumerate(left) if at == number]
                if not refused:
                    raise JobFailed(f"splunk-hec: the collector names an event that was not sent: {number}")
                run.leave_out(self._env, Code.REFUSED, f"splunk-hec: the collector refused an event: {why}", *refused)
                left = [item for at, item in enumerate(left) if at != number]

    async def _request(self, first: Event, run: Run, data: bytes, headers: dict[str, str]) -> egress.Reply:
        try:
            token = filled(self._token, "splunk-hec", first, run)
        except templates.TextTooLong as error:
            raise http.Unsendable(f"the token: {error}") from error
        url, headers = _collector(self._client.url(first, run)), {"authorization": f"Splunk {token}", **headers}
        return await self._client.send("POST", url, first, run, content=data, headers=headers, judge=_judge)

    async def flush(self, run: Run) -> None:
        await self._batcher.flush(run)

    async def close(self) -> None:
        await self._batcher.close()
        await self._client.aclose()


def _collector(url: str) -> str:
    """The address of the collector itself when only its host was given."""
    parsed = httpx.URL(url)
    return url if parsed.path not in ("", "/") else str(parsed.copy_with(path=PATH))


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.replace(".", "", 1).isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _judge(reply: egress.Reply, where: str) -> None:
    """Like any request, but for a batch in which one event is called invalid."""
    if reply.status != 400 or _invalid(reply)[0] < 0:
        http.check_success(reply, where)


def _invalid(reply: egress.Reply) -> tuple[int, str]:
    """Which event of the request is invalid, and why; -1 when the answer does not say so."""
    try:
        answer = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return -1, ""
    number = answer.get("invalid-event-number") if isinstance(answer, dict) else None
    return (number, shorten(answer.get("text", ""), 120)) if type(number) is int else (-1, "")
