"""The documents in docs/ and examples/ spell their keys as the reference of the job language does, and are valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import documents
from core.dsl.component import Config
from core.model.gitops import Manifest
from tests import fences
from tests.engines import ADMIN, EXAMPLES, engine_on

pytestmark = pytest.mark.anyio
PARTS = {"input", "actions", "output", "emit"}
CATALOG = {"workflow", "blueprint", "perspective"}


def shown() -> Iterator[tuple[str, str]]:
    """(where it stands, its text) of each document, also of those that a call carries."""
    for fence in fences.of_docs():
        if fence.is_call:
            arguments = orjson.loads(fence.text)["arguments"]
            texts = [arguments.get("document"), *(file["text"] for file in arguments.get("files", ()))]
            yield from ((fence.at, text) for text in texts if text)
        elif fence.kind in ("yaml", "json"):
            yield fence.at, fence.text
    for path in sorted(EXAMPLES.glob("*.yaml")):
        yield path.name, path.read_text(encoding="utf-8")


def loaded() -> Iterator[tuple[str, dict[str, Any]]]:
    for at, text in shown():
        for document in documents.load(text):
            if isinstance(document.data, dict):
                yield at, document.data


DOCUMENTS = list(loaded())
JOBS = [
    (at, {"name": "shown", "input": {"echo": {"event": "x"}}, "output": {"print": "STDOUT"}, **data})
    for at, data in DOCUMENTS
    if "kind" not in data and data.keys() & PARTS
]


def every(kind: type[Config]) -> Iterator[type[Config]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from every(inner)


@pytest.fixture
def canonical(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job language without the other spellings that older documents use."""
    for kind in every(Config):
        monkeypatch.setattr(kind, "spellings", {})


async def test_every_job_that_is_shown_has_the_keys_of_the_reference(tmp_path: Path, canonical: None) -> None:
    faults = {}
    async with engine_on(tmp_path / "home", workers=0) as engine:
        for at, data in JOBS:
            found = await engine.call("job_validate", {"document": orjson.dumps(data).decode()}, ADMIN)
            if not found["valid"]:
                faults[at] = [f"{one['pointer']}: {one['message']}" for one in found["errors"]]
    assert len(JOBS) > 80
    assert faults == {}


async def test_every_workflow_that_is_shown_has_the_keys_of_the_reference(tmp_path: Path, canonical: None) -> None:
    graphs = [(at, data) for at, data in DOCUMENTS if data.get("kind") in CATALOG]
    faults = {}
    async with engine_on(tmp_path / "home", workers=0) as engine:
        for at, data in graphs:
            found = await engine.call("workflow_validate", {"document": orjson.dumps(data).decode()}, ADMIN)
            keys = [one for one in found["errors"] if one["code"] in ("unknown_key", "missing_key", "invalid_job")]
            if keys:
                faults[at] = keys
    assert len(graphs) > 8
    assert faults == {}


def test_every_manifest_that_is_shown_is_one() -> None:
    manifests = [Manifest.model_validate(data) for _, data in DOCUMENTS if "schema_version" in data and "scope" in data]
    assert [one.owner for one in manifests] == ["dev/default"]
    assert manifests[0].source.commit_sha == "1" * 40
