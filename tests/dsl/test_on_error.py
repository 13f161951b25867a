"""The key `on-error` of a job: what it takes, and what it says in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core.dsl.language.compile import check_job
from core.dsl.reference import schemas
from core.errors import InvalidDocument, JobFailed
from core.worker.executor import Executor
from tests import waiting
from tests.dsl.rig import Worker
from tests.worker.test_replaying import Posts, executor

pytestmark = pytest.mark.anyio


def document(on_error: Any) -> dict[str, Any]:
    return {"name": "j", "input": {"echo": {"event": "x"}}, "output": {"print": "STDOUT"}, "on-error": on_error}


@pytest.mark.parametrize(
    "on_error",
    [
        *("keep", "log", "fail", {"mode": "log"}, {"event": False}, {"mode": "keep", "event": False}),
        *({"send": {"channel": "rejects"}}, {"send": {"message": "bad"}, "event": False}),
    ],
)
def test_every_form_is_taken_by_the_check_and_by_the_schema(on_error: Any) -> None:
    check_job(document(on_error))
    jsonschema.Draft202012Validator(schemas.job_schema()).validate(document(on_error))


@pytest.mark.parametrize(
    ("on_error", "pointer"),
    [
        ("drop", "/on-error"),
        ({"send": {}}, "/on-error/send"),
        ({"send": {"channel": "a", "message": "b"}}, "/on-error/send"),
        ({"mode": "keep", "send": {"channel": "a"}}, "/on-error"),
        ({"to": "x"}, "/on-error/to"),
    ],
)
def test_what_it_cannot_mean_is_told_in_its_place(on_error: Any, pointer: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        check_job(document(on_error))
    assert refused.value.errors[0].pointer == pointer


async def test_with_fail_the_run_fails_and_nothing_is_settled(worker: Worker, tmp_path: Path) -> None:
    posts = Posts()
    source, sink = {"echo": {"event": '{"n": 1}', "json": True}}, {"file": f"{tmp_path}/${{host}}"}
    job: Executor = executor(worker, posts, source, sink, on_error="fail")
    with pytest.raises(JobFailed, match="has no value here"):
        await job.run()
    assert posts.letters == []
    assert not worker.reports[-1].ok


async def test_without_it_refused_events_are_kept(worker: Worker, tmp_path: Path) -> None:
    posts = Posts()
    source, sink = {"echo": {"event": '{"n": 1}', "json": True}}, {"file": f"{tmp_path}/${{host}}"}
    await executor(worker, posts, source, sink).run()
    (letter,) = await waiting.until(lambda: posts.letters)
    assert (letter.step, letter.event) == ("/output/file", '{"n":1}')
