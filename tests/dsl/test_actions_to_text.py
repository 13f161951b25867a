"""The actions pdf-text and docx-to-text in jobs that read files: what goes on, and what is refused and kept."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.dsl.component import Limits, Run
from core.dsl.language import compile as compiler
from core.errors import InvalidDocument, JobFailed
from core.worker.letters import Posted
from tests.dsl import office, stub
from tests.dsl.rig import Worker
from tests.filepolicies import everywhere
from tests.worker.test_replaying import Posts, executor

pytestmark = pytest.mark.anyio
WHOLE, SCANNED = office.pdf(["How to do it", "", "What it costs"]), office.pdf([""])


async def run(worker: Worker, tmp_path: Path, files: dict[str, bytes], *actions: Any) -> tuple[list[Any], list[Posted]]:
    """What a job prints that reads these files in a sandbox, by their names, and its letters."""
    place = tmp_path / "data" / "default" / "in"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    worker.limits = Limits(files=everywhere(tmp_path / "data"), confined=True)
    store = {"path": "in", "binary": True, "object-name-field": "file", "timestamp-mode": "none"}
    posts = Posts()
    await executor(worker, posts, {"file-store": store}, {"print": "STDOUT"}, actions).run()
    return [orjson.loads(line) for line in worker.printed], posts.letters


async def test_the_text_of_each_file_goes_on_and_what_has_none_is_kept_as_a_letter(
    worker: Worker, tmp_path: Path
) -> None:
    files = {"1.pdf": WHOLE, "2.pdf": SCANNED, "3.pdf": b"nothing of the kind", "4.pdf": office.pdf(["end"])}
    printed, letters = await run(worker, tmp_path, files, {"pdf-text": {"remove": True}})
    assert printed == [
        {"file": "1.pdf", "text": "How to do it\n\n\n\nWhat it costs"},
        {"file": "4.pdf", "text": "end"},
    ]
    assert [(one.step, one.code, one.reason) for one in letters] == [
        ("/actions/0/pdf-text", "action-failed", f"pdf-text: _raw {why}; the event is refused")
        for why in ("has no text on its 1 pages, as when they are pictures of a scanner", "is not a PDF file")
    ]
    assert letters[0].event.startswith('{"file":"2.pdf","_raw":"'), "what is cut of a long one is the content"
    assert (worker.reports[-1].ok, worker.reports[-1].errors) == (True, 2)
    assert [line for line in worker.warnings if "pages have no text" in line] == [
        "actions/0 pdf-text: 1 of 3 pages have no text: 2"
    ]


async def test_an_empty_file_is_told_and_the_mark_of_a_directory_is_none(worker: Worker, tmp_path: Path) -> None:
    printed, letters = await run(worker, tmp_path, {"1.pdf": b"", "2.pdf": WHOLE}, {"pdf-text": {"remove": True}})
    assert [one["file"] for one in printed] == ["2.pdf"]
    assert [(one.step, one.code, one.reason) for one in letters] == [
        ("/input/file-store", "unreadable", "file-store: 1.pdf is empty")
    ]
    assert worker.reports[-1].skipped == 1


async def test_a_job_may_go_on_with_the_reason_and_count_the_pages(worker: Worker, tmp_path: Path) -> None:
    keys = {"output": "pages", "error-field": "why", "pages-field": "count", "empty-pages-field": "empty"}
    files = {"1.pdf": WHOLE, "2.pdf": SCANNED}
    printed, letters = await run(worker, tmp_path, files, {"pdf-text": keys}, {"remove": {"fields": ["_raw"]}})
    assert printed == [
        {"file": "1.pdf", "text": ["How to do it", "", "What it costs"], "count": 3, "empty": [2]},
        {"file": "2.pdf", "why": "_raw has no text on its 1 pages, as when they are pictures of a scanner"},
    ]
    assert letters == []
    assert worker.warnings == []


async def test_files_become_pieces_for_an_index(worker: Worker, tmp_path: Path) -> None:
    files = {"a.docx": office.docx("".join(map(office.paragraph, ["One.", "Two.", "Three."])))}
    chunk = {"input-field": "text", "by": "paragraphs", "size": 2, "output": "events", "output-field": "piece"}
    chunking, counting = {"chunk": {**chunk, "remove": True}}, {"tokenize": {"input-field": "piece"}}
    printed, _ = await run(worker, tmp_path, files, {"docx-to-text": {"remove": True}}, chunking, counting)
    assert printed == [
        {"file": "a.docx", "piece": "One.\n\nTwo.", "tokens": ["One", "Two"]},
        {"file": "a.docx", "piece": "Three.", "tokens": ["Three"]},
    ]


@pytest.mark.parametrize(
    ("keys", "event", "told"),
    [
        ({}, {}, "_raw is missing"),
        ({}, {"_raw": 7}, "_raw is a number and not a text in base64"),
        ({}, {"_raw": "?"}, "_raw is not valid base64"),
        ({"max-bytes": 10}, {"_raw": base64.b64encode(WHOLE).decode()}, "_raw is longer than 10 bytes"),
        ({"max-pages": 2}, {"_raw": base64.b64encode(WHOLE).decode()}, "_raw has 3 pages; at most 2 are read"),
        ({"output-field": "n.text"}, {"_raw": base64.b64encode(WHOLE).decode(), "n": 1}, "n"),
    ],
    ids=["missing", "number", "base64", "long", "pages", "place"],
)
def test_the_dry_form_reads_too_and_says_what_is_wrong_with_an_event(
    keys: dict[str, Any], event: dict[str, Any], told: str
) -> None:
    env = stub.Stub()
    job = compiler.compile_job(stub.document({"pdf-text": keys}), env)
    (step,) = job.steps
    own = Run()
    assert step.process([dict(event)], own) == []
    assert told in own.last_error


def test_the_dry_form_gives_the_text() -> None:
    (step,) = compiler.compile_job(stub.document({"pdf-text": {"remove": True}}), stub.Stub()).steps
    assert step.process([{"_raw": base64.b64encode(WHOLE).decode()}], Run()) == [
        {"text": "How to do it\n\n\n\nWhat it costs"}
    ]


def without_pypdf(find: Callable[..., Any]) -> Callable[..., Any]:
    return lambda name, *rest: None if name == "pypdf" else find(name, *rest)


async def test_without_its_library_the_job_says_so(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", without_pypdf(importlib.util.find_spec))
    with pytest.raises(JobFailed) as caught:
        compiler.compile_job(stub.document({"pdf-text": {}}), worker.env())
    assert caught.value.hint == "pip install 'sluice-mcp[documents]'"
    compiler.compile_job(stub.document({"docx-to-text": {}}), worker.env())


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ({"docx-text": {}}, "docx-to-text"),
        ({"pdf-text": {"timeout": "20m"}}, "timeout is from 100ms to 10m"),
        ({"pdf-text": {"max-bytes": 100_000_000}}, "max-bytes"),
    ],
)
def test_what_it_cannot_mean_is_told(action: Any, told: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job(stub.document(action))
    assert told in str(caught.value.errors[0])


def test_whole_objects_are_as_they_are() -> None:
    source = {"file-store": {"path": "in", "binary": True, "json": True}}
    with pytest.raises(InvalidDocument, match="binary: true gives whole objects as they are"):
        compiler.check_job({"name": "j", "input": source, "output": {"discard": {}}})
