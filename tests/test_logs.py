"""Log lines: logfmt for programs, words for the person who typed a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from core import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_person_reads_words_and_a_program_reads_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger("test")
    logs.configure("warning", plain=True)
    log.warning("worker_lost", worker="local-1", reason="a\x1b[2Jb")
    log.info("not_told")
    try:
        raise RuntimeError("secret path")
    except RuntimeError:
        log.exception("run_failed", run="r1")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["warning: worker lost: worker local-1, reason a [2Jb", "error: run failed: run r1"]
    logs.configure("warning")
    log.warning("worker_lost", worker="local-1")
    line = capsys.readouterr().err
    assert line.startswith("timestamp=") and line.endswith("level=warning event=worker_lost worker=local-1\n")


def test_in_the_journal_each_line_has_its_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w+") as file:
        monkeypatch.setattr(sys, "stderr", file)
        found = os.fstat(file.fileno())
        for stream in (f"{found.st_dev}:{found.st_ino}", "0:1"):
            monkeypatch.setenv("JOURNAL_STREAM", stream)
            logs.configure("info")
            structlog.get_logger("test").error("broken")
            structlog.get_logger("test").info("fine")
        file.seek(0)
        assert [line[:3] for line in file] == ["<3>", "<6>", "tim", "tim"]
