"""What comes with Sluice keeps its files where every tenant may: its paths are relative, so nobody has to be asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import documents
from core.catalog import builtin
from core.dsl.component import REGISTRY
from core.dsl.language import compile as compiler
from core.fileroots import FileMode
from core.guard.filepolicy import FilePolicy
from core.guard.pathrules import FileRules
from core.jobs import staging
from core.model.catalog import LibraryJob

RULES = FileRules(FilePolicy(FileMode.TENANT, "/data"), "default")
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))


def texts(value: Any) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


@pytest.mark.parametrize("entry", builtin.load(), ids=lambda entry: f"{entry.type}-{entry.slug}")
def test_no_item_of_the_catalog_suggests_a_place_outside_of_the_data_directory(entry: Any) -> None:
    """Words that begin a path of a disk: routes of HTTP are no such places."""
    said = " ".join(texts(entry.model.model_dump(mode="json", by_alias=True)))
    assert not [place for place in ("/srv/", "/var/", "/tmp/", "/data/", "/home/", "/opt/") if place in said]


JOBS = [entry for entry in builtin.load() if isinstance(entry.model, LibraryJob)]


@pytest.mark.parametrize("entry", JOBS, ids=lambda entry: str(entry.slug))
def test_a_library_job_runs_where_a_tenant_has_nothing_but_its_data_directory(entry: Any) -> None:
    assert staging.stage(orjson.dumps(entry.model.job).decode(), files=RULES).name == entry.model.job["name"]


@pytest.mark.parametrize("component", list(REGISTRY), ids=[f"{one.kind}-{one.name}" for one in REGISTRY])
def test_the_example_of_a_component_does_too(component: Any) -> None:
    (loaded,) = documents.load(component.example)
    compiler.check_job(loaded.data, files=RULES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_do_too(path: Path) -> None:
    said = " ".join(text for one in documents.load(path.read_text(encoding="utf-8")) for text in texts(one.data))
    assert not [place for place in ("/srv/", "/var/", "/tmp/", "/data/", "/home/", "/opt/") if place in said]
