"""Paths of a job are judged when the document is checked, before a worker sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.dsl import compile as compiler
from core.dsl.component import Limits
from core.dsl.paths import FileAccess
from core.dsl.registry import load_components
from core.errors import InvalidDocument

load_components()
ECHO: dict[str, Any] = {"echo": {"event": "hello"}}
PRINT: dict[str, Any] = {"print": "STDOUT"}


def told(document: dict[str, Any], access: FileAccess | None = None) -> dict[str, str]:
    with pytest.raises(InvalidDocument) as caught:
        compiler.check_job({"name": "j", **document}, files=access or FileAccess(Limits()))
    return {problem.pointer: problem.message for problem in caught.value.errors}


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"input": {"files": {"path": "../x"}}, "output": PRINT}, "/input/files/paths/0"),
        ({"input": {"files": {"paths": ["/a/*", "/a/../b"]}}, "output": PRINT}, "/input/files/paths/1"),
        ({"input": {"file-store": {"path": "/a/../../x"}}, "output": PRINT}, "/input/file-store/path"),
        ({"input": ECHO, "output": {"file": {"path": "/a/${x}/../b"}}}, "/output/file/path"),
        ({"input": ECHO, "output": {"file-store": {"path": "..", "object-name": "x"}}}, "/output/file-store/path"),
        (
            {"input": ECHO, "actions": [{"enrich": {"lookup-file": "/a/../b.csv", "match": "k"}}], "output": PRINT},
            "/actions/0/enrich/lookup-file",
        ),
        (
            {
                "input": ECHO,
                "actions": [{"assert": {"schema": {"schema-file": "/proc/self/environ"}}}],
                "output": PRINT,
            },
            "/actions/0/assert/schema/schema-file",
        ),
        ({"input": {"exec": {"command": "true", "env": {"file": "../env"}}}, "output": PRINT}, "/input/exec/env/file"),
        (
            {
                "input": {
                    "echo": {"event": "x", "trigger": {"interval": {"duration": "1m", "window": {"tracked": ".."}}}}
                },
                "output": PRINT,
            },
            "/input/echo/trigger/interval/window/tracked",
        ),
        (
            {
                "input": {"http-server": {"address": "127.0.0.1:1", "tls": {"cert": "/a/../c", "key": "/a/k"}}},
                "output": PRINT,
            },
            "/input/http-server/tls/cert",
        ),
    ],
)
def test_a_path_that_no_worker_would_open_is_a_fault_of_the_document(document: dict[str, Any], pointer: str) -> None:
    assert list(told(document)) == [pointer]


def test_the_home_of_the_engine_is_refused_before_a_job_runs(tmp_path: Path) -> None:
    access = FileAccess(Limits(denied_roots=(str(tmp_path),)))
    document = {
        "input": {"files": {"path": f"{tmp_path}/sluice.db"}},
        "output": {"file": {"path": f"{tmp_path}/${{a}}"}},
    }
    faults = told(document, access)
    assert list(faults) == ["/input/files/paths/0", "/output/file/path"]
    assert all("the engine's own directory (no job may read or write there)" in fault for fault in faults.values())


def test_what_is_outside_the_file_roots_is_refused_before_a_job_runs(tmp_path: Path) -> None:
    access = FileAccess(Limits(file_roots=(str(tmp_path),)))
    faults = told(
        {"input": ECHO, "output": {"file-store": {"path": f"{tmp_path}2/secret", "object-name": "x"}}}, access
    )
    assert "file_roots" in faults["/output/file-store/path"]


@pytest.mark.parametrize("path", ["/data/@{job}/${day}.jsonl", "data/x", "/data/a..b", "/dev/shm/x"])
def test_a_path_whose_fixed_parts_are_allowed_waits_for_the_worker(path: str) -> None:
    compiler.check_job({"name": "j", "input": ECHO, "output": {"file": {"path": path}}})
