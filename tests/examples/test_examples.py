"""Every document under examples/ is valid, and listed."""

from __future__ import annotations

from pathlib import Path

import orjson

from core import documents
from core.catalog import builtin
from core.jobs import staging
from core.operations import REGISTRY
from core.workflows import authoring, check, modules
from mcp_server.cli import stage
from tests import cases

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".yaml", ".yml", ".json"))


@cases.table("path", DOCUMENTS, ids=lambda path: path.name)
def test_an_example_is_listed(path: Path) -> None:
    assert f"({path.name})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@cases.table("path", DOCUMENTS, ids=lambda path: path.name)
def test_an_example_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for document in documents.load(text, origin=path.name):
        if "target_job_name" in document.data:
            assert REGISTRY["trigger_publish"].validate(document.data)
        elif document.kind in authoring.KINDS:
            assert check.check(document, modules.of(builtin.load())).faults == ()
        else:
            assert staging.stage(text, origin=path.name).name == document.data["name"]


def test_the_trigger_and_its_handler_fit_together() -> None:
    definition = orjson.loads(stage.example("smoke_trigger.json").read_bytes())
    job = staging.stage(stage.example("smoke_trigger_handler.yaml").read_text(encoding="utf-8"))
    message = job.data["input"]["echo"]["trigger"]["message"]
    assert definition["target_job_name"] == job.name
    assert definition["target_message_tag"] == message["filter-tag"]
    assert (
        definition["response_slot"]
        == job.data["actions"][0]["add"]["output-fields"]["trigger_response"]["response_slot"]
    )
