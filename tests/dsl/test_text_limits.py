"""A template that the values of an event make too long costs that event, whatever output it is in, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from core.dsl.component import REGISTRY, Limits
from core.dsl.language import templates
from tests.dsl import web
from tests.dsl.rig import Worker
from tests.filepolicies import EVERYWHERE

pytestmark = pytest.mark.anyio
URL = "http://here/x"
TEXT = "${text}"
EVENTS = [{"text": "one", "n": 1}, {"text": "T" * 70_000, "n": 2}, {"text": "two", "n": 3}]

CASES: dict[tuple[str, str], dict[str, Any]] = {
    ("http-post", "url"): {"url": f"{URL}/{TEXT}"},
    ("http-post", "headers"): {"url": URL, "headers": {"x": TEXT}},
    ("http-post", "query"): {"url": URL, "query": {"q": TEXT}},
    ("http-post", "body"): {"url": URL, "body": {"message": TEXT}},
    ("http-post", "auth"): {"url": URL, "auth": {"bearer": {"token": TEXT}}},
    ("http-get", "url"): {"url": f"{URL}/{TEXT}"},
    ("http-get", "headers"): {"url": URL, "headers": {"x": TEXT}},
    ("http-get", "query"): {"url": URL, "query": {"q": TEXT}},
    ("http-get", "auth"): {"url": URL, "auth": {"basic": {"username": TEXT, "password": "p"}}},
    ("splunk-hec", "url"): {"url": f"{URL}/{TEXT}", "token": "t"},
    ("splunk-hec", "headers"): {"url": URL, "token": "t", "headers": {"x": TEXT}},
    ("splunk-hec", "query"): {"url": URL, "token": "t", "query": {"q": TEXT}},
    ("splunk-hec", "token"): {"url": URL, "token": TEXT},
    ("splunk-hec", "index"): {"url": URL, "token": "t", "index": TEXT},
    ("splunk-hec", "source"): {"url": URL, "token": "t", "source": TEXT},
    ("splunk-hec", "sourcetype"): {"url": URL, "token": "t", "sourcetype": TEXT},
    ("splunk-hec", "host"): {"url": URL, "token": "t", "host": TEXT},
    ("splunk-hec", "fields"): {"url": URL, "token": "t", "fields": {"f": TEXT}},
    ("elasticsearch", "url"): {"url": f"{URL}/{TEXT}", "index": "i"},
    ("elasticsearch", "headers"): {"url": URL, "index": "i", "headers": {"x": TEXT}},
    ("elasticsearch", "query"): {"url": URL, "index": "i", "query": {"q": TEXT}},
    ("elasticsearch", "index"): {"url": URL, "index": TEXT},
    ("elasticsearch", "auth"): {"url": URL, "index": "i", "auth": {"api-key": {"key": TEXT}}},
    ("message", "tag"): {"tag": f"t-{TEXT}"},
    ("file", "path"): {"path": f"DIR/{TEXT}"},
    ("file-store", "object-name"): {"path": "DIR", "object-name": {"name": TEXT}},
}
# Their place is filled in for each run; their names are those of file-store.
# Where a record of Kafka goes is tried with a broker: test_kafka.py.
OF_THE_RUN = {"kafka", "s3", "gcs", "azure-blob", "web-dav-store"}
ELSEWHERE = {("file-store", "path"), *((name, key) for name in ("respond",) for key in ("result", "outcome", "error"))}


def _texts(model: type[BaseModel], seen: tuple[type, ...] = ()) -> Iterator[str]:
    """The keys of a component that hold templates somewhere."""
    for name, field in model.model_fields.items():
        if _holds(field.annotation, field.metadata, (*seen, model)):
            yield name.rstrip("_").replace("_", "-")


def _holds(annotation: Any, metadata: Any, seen: tuple[type, ...]) -> bool:
    checks = (templates.check, templates.check_structure)
    if any(getattr(one, "func", None) in checks for one in metadata):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation not in seen and any(_texts(annotation, seen))
    inner = (*getattr(annotation, "__args__", ()), *getattr(annotation, "__metadata__", ()))
    return any(getattr(one, "func", None) in checks or _holds(one, (), seen) for one in inner)


def test_every_key_of_an_output_that_is_filled_in_for_each_event_is_tried_here() -> None:
    found = {(name, key) for name in REGISTRY.names("output") for key in _texts(REGISTRY.get("output", name))}
    assert found and {("message", "tag"), ("http-post", "auth")} <= found
    assert {one for one in found if one[0] not in OF_THE_RUN} - ELSEWHERE == set(CASES)


def _tries() -> Iterator[Any]:
    for name, key in CASES:
        yield pytest.param(name, key, False, id=f"{name}-{key}")
        if "batch" in REGISTRY.get("output", name).model_fields:
            yield pytest.param(name, key, True, id=f"{name}-{key}-batch")


async def _accept(request: web.Request, writer: asyncio.StreamWriter) -> None:
    """As any of the receivers would."""
    items = [{"index": {"status": 201}}] * (request.body.count(b"\n") // 2)
    writer.write(web.answer(200, orjson.dumps({"errors": False, "items": items})))


@pytest.mark.parametrize(("name", "key", "batch"), list(_tries()))
async def test_only_the_event_that_makes_a_text_too_long_is_refused(
    worker: Worker, tmp_path: Path, name: str, key: str, batch: bool
) -> None:
    worker.limits = Limits(files=EVERYWHERE, egress_allow=("127.0.0.0/8",))
    async with web.serve(_accept) as site:
        text = orjson.dumps(CASES[name, key]).decode().replace("DIR", str(tmp_path / "d"))
        options = orjson.loads(text.replace(URL, site.url("/x")))
        events = EVENTS
        if batch:  # what is filled in for all of them comes from the first one
            options["batch"] = {"mode": "fixed", "fixed-size": 3}
            events = [EVENTS[1], EVENTS[0], EVENTS[2]]
        report = await worker.write("\n".join(orjson.dumps(event).decode() for event in events), {name: options})
    if name == "file-store" and batch:  # of an object with its name all are left out, and then the run has failed
        assert (report.ok, report.errors, report.events_out) == (False, 3, 0)
    else:
        assert (report.ok, report.errors, report.events_out) == (True, 1, 2)
