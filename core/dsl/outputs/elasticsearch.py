"""The elasticsearch output: events as documents, written with the bulk API (OpenSearch has the same)."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Literal

import orjson

from core.dsl.component import REGISTRY, Batch, Env, Event, Output, Run
from core.dsl.connections import http
from core.dsl.connections.http_auth import ApiKey, Auth
from core.dsl.connections.retry import Temporary, attempt
from core.dsl.events import select
from core.dsl.events.select import Selector
from core.dsl.files import preprocess
from core.dsl.language import templates
from core.dsl.outputs import batching, content
from core.errors import JobFailed, shorten
from core.guard import egress
from core.model.letter import Code

CONFLICT = 409  # `create` of a document that is there


class ElasticKey(ApiKey):
    """An API key, as its encoded form."""

    name: str = "authorization"
    """The name of the header."""
    prefix: str = "ApiKey "
    """What stands before the key."""


class ElasticAuth(Auth):
    """How to authenticate: exactly one of basic, bearer, api-key and oauth2."""

    api_key: ElasticKey | None = None
    """An API key of the cluster."""


@REGISTRY.register("elasticsearch")
class Elasticsearch(http.Requests, Output):
    """Index each event as a document; a batch is one bulk request.

    A document counts as delivered when its own result in the answer is a success, or when `create` finds it there
    already. Documents with the results 429 and 5xx are sent again as `retry` says, without the others; when that does
    not help, the job fails and is restarted. A document that is refused for good, as one whose field has another type
    than the mapping, is counted as an error with its reason, and the others go on. The same holds for the request as a
    whole: 408, 429, 5xx and connection faults are tried again, any other status fails the job. With an `id-field`
    nothing is there twice when events are sent again.
    """

    spellings: ClassVar = {"address": "url"}
    connects_to: ClassVar[str] = "Elasticsearch server"
    example: ClassVar[str] = """
name: to-elasticsearch
input: {echo: {event: '{"id": "a1", "level": "info", "text": "started"}', json: true}}
output:
  elasticsearch:
    url: https://search.example.com:9200
    index: "logs-${level}"
    id-field: id
    auth: {api-key: "${dyn|ELASTIC_KEY}"}
    batch: {mode: fixed, fixed-size: 1000, timeout: 5s}
    retry: {retries: 5, timeout: 60s}
"""

    index: templates.Text
    """The index, alias or data stream; an event for which it is empty is counted as an error and not sent."""
    id_field: Selector | None = None
    """The field with the id of the document, a text or a whole number; an event without it is counted as an error and
    not sent. Left out: the cluster makes ids."""
    action: Literal["index", "create"] = "index"
    """`index` replaces a document with the same id, `create` leaves it as it is; a data stream takes only `create`."""
    auth: ElasticAuth | None = None
    """How to authenticate: basic, bearer, api-key or oauth2."""
    input_field: Selector | None = None
    """Send only this field, which must be an object; an event without it is counted as an error and not sent."""
    batch: batching.Grouping | None = None
    """Put several documents into one request."""
    gzip: bool = False
    """Compress the requests."""

    def open(self, env: Env) -> ElasticsearchSink:
        return ElasticsearchSink(self, env)


class ElasticsearchSink:
    """One request at a time, in order."""

    def __init__(self, config: Elasticsearch, env: Env) -> None:
        self._config = config
        self._env = env
        self._client = http.Client(config, env, "elasticsearch", auth=config.auth, whole_answers=True)
        self._index = templates.template(config.index, env)
        self._id = select.getter(select.parse(config.id_field)) if config.id_field else None
        self._get = select.getter(select.parse(config.input_field)) if config.input_field else None
        self._batcher = batching.Batcher(config.batch, self._send)

    async def write(self, batch: Batch, run: Run) -> None:
        items = [
            batching.Item(event, data) for event in batch.events if (data := self._operation(event, run)) is not None
        ]
        await self._batcher.add(items, batch, run)

    def _operation(self, event: Event, run: Run) -> bytes | None:
        """The two lines of one document, or None for an event that cannot be one."""
        index = content.filled(self._index, event, self._env, run, "elasticsearch: index")
        if index is None:
            return None
        target = {"_index": index}
        document: Any = event if self._get is None else self._get(event)
        if type(document) is not dict:
            why = f"elasticsearch: {self._config.input_field} of the event is no object"
            run.leave_out(self._env, Code.NO_FIELD, why, event)
            return None
        if not target["_index"]:
            run.leave_out(self._env, Code.EMPTY_PLACEHOLDER, "elasticsearch: the index is empty for this event", event)
            return None
        if self._id is not None:
            found = self._id(event)
            if type(found) not in (str, int) or found == "":
                why = f"elasticsearch: {self._config.id_field} is no text or whole number"
                run.leave_out(self._env, Code.NO_FIELD, why, event)
                return None
            target["_id"] = str(found)
        data = content.to_json(document, event, self._env, run, "elasticsearch")
        return None if data is None else orjson.dumps({self._config.action: target}) + b"\n" + data + b"\n"

    async def _send(self, groups: list[list[batching.Item]], run: Run) -> None:
        for group in groups:
            left = group
            while left:
                try:
                    await self._write(left, run)
                    break
                except http.Unsendable as fault:  # the first one fills in the address and the headers of all
                    run.leave_out(self._env, fault.refused, f"elasticsearch: {fault.message}", left[0].event)
                    left = left[1:]

    async def _write(self, group: list[batching.Item], run: Run) -> None:
        first, left = group[0].event, group
        url = _bulk(self._client.url(first, run))
        headers = {"content-type": "application/x-ndjson"}
        if self._config.gzip:
            headers["content-encoding"] = "gzip"

        async def once() -> None:
            nonlocal left
            data = b"".join([item.data for item in left])
            if self._config.gzip:
                data = await asyncio.to_thread(preprocess.encode, ["gzip"], data)
            reply = await self._client.exchange("POST", url, first, run, content=data, headers=headers)
            run.bytes_out += len(data)
            left, why = self._judge(reply, left, run)
            if left:
                raise Temporary(f"elasticsearch: {len(left)} documents were refused for now: {why}")

        await attempt(self._config.retry, self._env, "elasticsearch", once)

    def _judge(self, reply: egress.Reply, sent: list[batching.Item], run: Run) -> tuple[list[batching.Item], str]:
        """The documents to send again, and the reason of the last of them; what is refused for good is counted."""
        results = _results(reply, len(sent))
        again: list[batching.Item] = []
        last = ""
        for item, result in zip(sent, results, strict=True):
            status = result.get("status")
            if type(status) is not int:
                raise JobFailed("elasticsearch: the answer has a document without a status")
            if status < 300 or (status == CONFLICT and self._config.action == "create"):
                continue
            if status == 429 or status >= 500:
                again.append(item)
                last = f"{status} {_reason(result)}"
            else:
                why = f"elasticsearch: a document was refused: {status} {_reason(result)}"
                run.leave_out(self._env, Code.REFUSED, why, item.event)
        return again, last

    async def flush(self, run: Run) -> None:
        await self._batcher.flush(run)

    async def close(self) -> None:
        await self._batcher.close()
        await self._client.aclose()


def _bulk(url: str) -> str:
    before, mark, query = url.partition("?")
    before = before.rstrip("/")
    return (before if before.endswith("/_bulk") else f"{before}/_bulk") + mark + query


def _results(reply: egress.Reply, count: int) -> list[dict[str, Any]]:
    """The result of each document, in order."""
    try:
        answer = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise JobFailed(
            f"elasticsearch: the answer is not JSON: {error.msg}", hint="is this the address of a cluster?"
        ) from error
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list) or len(items) != count:
        raise JobFailed("elasticsearch: the answer does not tell the result of each document")
    return [next(iter(item.values()), {}) if isinstance(item, dict) else {} for item in items]


def _reason(result: dict[str, Any]) -> str:
    error = result.get("error")
    if isinstance(error, dict):
        return shorten(f"{error.get('type', '')}: {error.get('reason', '')}", 160)
    return shorten(error or "no reason given", 160)
