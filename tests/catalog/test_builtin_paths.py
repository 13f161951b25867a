"""What comes with Sluice keeps its files where every tenant may: its paths are relative, so nobody has to be asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from core import documents
from core.catalog import builtin
from core.fileroots import FileMode
from core.guard.filepolicy import FilePolicy
from core.guard.pathrules import FileRules
from core.jobs import staging
from core.model.catalog import LibraryJob
from tests import cases

RULES = FileRules(FilePolicy(FileMode.TENANT, "/data"), "default")


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


def places_outside(*values: Any) -> list[str]:
    """The words that begin a path of a disk outside of the data directory; routes of HTTP are no such places."""
    said = " ".join(text for value in values for text in texts(value))
    return [place for place in ("/srv/", "/var/", "/tmp/", "/data/", "/home/", "/opt/") if place in said]


def test_no_item_of_the_catalog_suggests_a_place_outside_of_the_data_directory() -> None:
    found = {
        f"{entry.type}-{entry.slug}": places_outside(entry.model.model_dump(mode="json", by_alias=True))
        for entry in builtin.load()
    }
    assert found and {name: places for name, places in found.items() if places} == {}


def test_a_library_job_runs_where_a_tenant_has_nothing_but_its_data_directory() -> None:
    """So do the examples of components: tests/dsl/test_compile.py."""
    with cases.every() as case:
        for entry in builtin.load():
            if isinstance(entry.model, LibraryJob):
                with case(entry.slug):
                    document = orjson.dumps(entry.model.job).decode()
                    assert staging.stage(document, files=RULES).name == entry.model.job["name"]


def test_the_examples_do_too() -> None:
    found = {
        path.name: places_outside(*(one.data for one in documents.load(path.read_text(encoding="utf-8"))))
        for path in sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
    }
    assert found and {name: places for name, places in found.items() if places} == {}
