"""Jobs as a user of the documentation would write them: documents/*.yaml, each with what it should do.

Each document holds a `job` and says what is expected of it: `given` and `expect` (events through the actions),
`printed`, `written` or `sent` (a whole run), `refuses`, `aborts` or `fails`. One without any of them needs a service
outside of this machine and is checked and compiled. `{{data}}` is a directory of the test with the `files`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import jsonschema
import orjson
import pytest

from core.documents import load
from core.dsl.component import REGISTRY, Limits, Outgoing, Run
from core.dsl.language import templates
from core.dsl.language.action import JobAborted
from core.dsl.language.compile import check_job, compile_job
from core.dsl.reference import schemas
from core.errors import InvalidDocument, JobFailed
from core.worker.executor import Executor
from tests import cases
from tests.dsl.rig import Worker
from tests.dsl.stub import Stub, through
from tests.filepolicies import only

FOLDER = Path(__file__).parent / "documents"
KEYS = {
    "title", "job", "context", "files", "variables", "allow-exec", "message", "time", "given", "expect", "warns",
    "refused", "sent", "printed", "written", "refuses", "aborts", "fails",
}  # fmt: skip
DOCUMENTS = {path.stem: load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}
SCHEMA = jsonschema.Draft202012Validator(schemas.job_schema())  # what an editor checks against


def test_there_are_documents_for_every_component() -> None:
    used: set[tuple[str, str]] = set()
    jobs = [document.data["job"] for documents in DOCUMENTS.values() for document in documents]
    for job in jobs:
        parts = [("input", job["input"]), ("output", job.get("output", {}))]
        parts += [("action", action) for action in job.get("actions", [])]
        used.update((kind, name) for kind, part in parts for name in ([part] if isinstance(part, str) else part))
    assert {(component.kind, component.name) for component in REGISTRY} <= used
    assert len(jobs) >= 40


@pytest.mark.anyio
@pytest.mark.parametrize("file", DOCUMENTS)
async def test_a_document_does_what_it_says(file: str, tmp_path: Path) -> None:
    with cases.every() as each:
        for number, document in enumerate(DOCUMENTS[file]):
            place = tmp_path / str(number)
            with each(document.data["title"]):
                await _does_what_it_says(document.data, Worker(place / "state"), place / "data")


async def _does_what_it_says(case: dict[str, Any], worker: Worker, data: Path) -> None:
    assert case.keys() <= KEYS
    _write(case.get("files", {}), data)
    worker.variables.update(case.get("variables", {}))
    worker.limits = Limits(allow_exec=case.get("allow-exec", False), files=only(data))
    if "refuses" in case:
        with pytest.raises(InvalidDocument) as error:
            compile_job(_staged(case, data), worker.env())
        told = " ".join([error.value.message, *(problem.message for problem in error.value.errors)])
        assert case["refuses"] in told
        return
    staged = _staged(case, data)
    assert SCHEMA.is_valid(staged)
    check_job(staged)
    if "given" in case:
        _through_the_actions(case, staged)
    elif {"printed", "written", "sent", "fails"} & case.keys():
        await _whole(case, staged, worker, data)
    else:
        compile_job(staged, worker.env())


def _write(files: dict[str, str], data: Path) -> None:
    data.mkdir(parents=True)
    for name, text in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text)


def _staged(case: dict[str, Any], data: Path) -> dict[str, Any]:
    return templates.stage(case["job"], {"data": str(data), **case.get("context", {})})


def _through_the_actions(case: dict[str, Any], staged: dict[str, Any]) -> None:
    env = Stub(job=staged["name"], variables=case.get("variables", {}))
    job = compile_job(staged, env)
    run = Run("r-1", case.get("message"), case.get("time", {}))
    if "aborts" in case:
        with pytest.raises(JobAborted, match=case["aborts"]):
            through(job, case["given"], run)
        return
    assert through(job, case["given"], run) == case["expect"]
    _messages(case, env.messages)
    assert run.errors == case.get("refused", 0)
    warnings = [text for level, text in env.lines if level == "warning"]
    assert len(warnings) == case.get("warns", 0) + run.errors


async def _whole(case: dict[str, Any], staged: dict[str, Any], worker: Worker, data: Path) -> None:
    env = worker.env(staged["name"])
    executor = Executor(compile_job(staged, env), env, on_run=worker.reports.append)
    with anyio.fail_after(10):
        if "fails" in case:
            with pytest.raises(JobFailed, match=case["fails"]):
                await executor.run()
            return
        await executor.run()
    assert [orjson.loads(line) for line in worker.printed] == case.get("printed", [])
    for name, text in case.get("written", {}).items():
        assert (data / name).read_text() == text
    _messages(case, worker.messages)


def _messages(case: dict[str, Any], messages: list[Outgoing]) -> None:
    expected = case.get("sent", [])
    assert len(messages) == len(expected)
    for message, wanted in zip(messages, expected, strict=True):
        assert {key: getattr(message, key) for key in wanted} == wanted
