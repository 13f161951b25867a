"""The reference of the job language: complete, true to the code, and small enough for an agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.documents import load
from core.dsl.component import REGISTRY, Limits
from core.dsl.events import sandbox
from core.dsl.language import compile as compiler
from core.dsl.language import templates
from core.dsl.reference import answers, entries
from core.worker.executor import Executor
from mcp_server import results
from tests import cases
from tests.dsl import rig
from tests.dsl.rig import Worker
from tests.filepolicies import everywhere

ENTRIES = list(entries.by_name().values())
CHARACTERS_A_TOKEN = 3  # fewer than any tokenizer needs for such text
TOKENS = 2_000


def tokens(answer: dict[str, Any]) -> float:
    """What the whole tool result costs: the structured content and the same facts as text."""
    wire = results.success(answer)
    assert wire["structuredContent"] == answer, "the answer was cut"
    return (len(orjson.dumps(answer)) + len(wire["content"][0]["text"])) / CHARACTERS_A_TOKEN


def paths(keys: tuple[entries.Key, ...], prefix: str = "") -> Iterator[str]:
    for key in keys:
        yield prefix + key.name
        if key.model is not None and prefix.count(".") < 4:
            yield from paths(entries.keys_of(key.model), f"{prefix}{key.name}.")


def test_every_component_is_in_the_reference() -> None:
    assert {(cls.kind, cls.name) for cls in REGISTRY} <= entries.by_name().keys()


def test_the_index_and_the_lists_of_all_kinds_are_small_and_whole() -> None:
    index = answers.index()
    assert tokens(index) < TOKENS
    for kind in entries.KINDS:
        listed = answers.of_kind(kind)
        assert tokens(listed) < TOKENS
        names = [entry.name for entry in ENTRIES if entry.kind == kind]
        assert [item["name"] for item in listed["items"]] == names
        assert index[kind] == ", ".join(names)


@cases.table("entry", ENTRIES, ids=lambda entry: f"{entry.kind}.{entry.name}")
def test_every_entry_and_every_key_below_it_is_small(entry: entries.Entry) -> None:
    shown = answers.show(entry)
    assert tokens(shown) < TOKENS
    assert shown["about"].strip()
    assert all(key.name in " ".join(shown.get("keys", [])) for key in entry.keys)
    if entry.kind not in ("expansion", "condition") and entry.keys and entry.keys[0].kind:
        for path in paths(entry.keys):
            assert tokens(answers.show(entry, path)) < TOKENS, path


@given(
    st.lists(st.sampled_from("a e the file retry json batch time event 1 $ msg http list of to".split()), max_size=4)
)
def test_every_search_is_small(words: list[str]) -> None:
    assert tokens(answers.search(" ".join(words))) < TOKENS


def test_a_search_finds_names_keys_and_descriptions_best_first() -> None:
    assert answers.search("http-poll")["items"][0] == {
        "kind": "input",
        "name": "http-poll",
        "summary": answers.find("input", "http-poll")[0].summary,
    }
    assert {"input", "output"} <= {item["kind"] for item in answers.search("gzip")["items"]}
    assert answers.search("cron")["items"][0]["kind"] == "trigger"
    assert answers.search("zzzz qqqq")["items"] == []


@cases.table(
    ("question", "name"),
    [
        ("how do I poll an api with pagination and a bearer token", "http-poll"),
        ("tail a log file", "files"),
        ("lookup table", "enrich"),
        ("regular expression capture groups", "extract"),
        ("read lines from a TCP socket!", "tcp"),
    ],
)
def test_a_question_in_plain_language_finds_what_has_most_of_its_words(question: str, name: str) -> None:
    found = answers.search(question)
    assert name in [item["name"] for item in found["items"]][:3]
    assert "most of them" in found["next"]


def test_what_is_not_there_is_told_with_what_was_meant() -> None:
    with pytest.raises(errors.NotFound, match="Did you mean http-poll"):
        answers.find("input", "http-pol")
    with pytest.raises(errors.NotFound, match="has no key autth") as caught:
        answers.show(answers.find("input", "http-poll")[0], "autth")
    assert "auth" in caught.value.hint


def test_the_placeholders_in_the_reference_are_those_that_the_code_knows() -> None:
    named = {entry.name for entry in ENTRIES if entry.kind == "expansion"}
    assert named == {*templates._SOURCES, "event", "constants", "context"}
    constants = next(entry for entry in ENTRIES if entry.name == "constants")
    assert {key.name for key in constants.keys} == {f"@{{{name}}}" for name in templates._CONSTANTS}
    for entry in ENTRIES:
        for key in entry.keys if entry.kind == "expansion" and entry.name != "context" else ():
            assert any(not isinstance(part, str) for part in templates.parse(key.name)), key.name


def test_the_functions_of_conditions_are_those_of_the_sandbox() -> None:
    entry = next(entry for entry in ENTRIES if entry.kind == "condition")
    told = " ".join(key.name for key in entry.keys)
    for name in (*sandbox.FUNCTIONS, *sandbox.LIBRARIES, *sandbox.HELPERS):
        assert name in told, name


def test_the_keys_of_a_job_are_those_that_the_compiler_knows() -> None:
    entry = next(entry for entry in ENTRIES if entry.kind == "document" and entry.name == "job")
    assert {key.name for key in entry.keys} == set(compiler.KEYS)


TOPICS = [entry for entry in ENTRIES if entry.kind not in ("input", "action", "output")]
NOT_RUN = {"secret", "cred"}  # a worker has to be given them


@pytest.mark.anyio
@pytest.mark.parametrize("entry", TOPICS, ids=lambda entry: f"{entry.kind}.{entry.name}")
async def test_the_example_of_a_topic_runs(entry: entries.Entry, worker: Worker, tmp_path: Path) -> None:
    (found,) = load(entry.example)
    document = templates.stage(found.data, {})
    compiler.check_job(document)
    if entry.name in NOT_RUN:
        return
    worker.limits = Limits(allow_exec=True, files=everywhere(tmp_path / "data"))
    env = worker.env()
    executor = Executor(compiler.compile_job(document, env), env, on_run=worker.reports.append)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(executor.run)
            if executor.mode != "once":
                await rig.opened(executor)
                await executor.drain(1)
    assert all(report.ok for report in worker.reports)
