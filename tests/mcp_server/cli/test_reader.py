"""Commands whose output nobody reads any more: real processes before a pipe that is closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.cli import codes, reader, stage


def unread(home: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """A command whose standard output was closed by its reader before it began."""
    ours, its = os.pipe()
    os.close(ours)
    try:
        command = [stage.program("sluice"), *words, "--home", str(home)]
        return subprocess.run(command, stdout=its, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(its)


@pytest.mark.parametrize("words", ["variable list", "catalog search", "--help", "variable --help"])
def test_a_command_that_looks_ends_without_a_word(tmp_path: Path, words: str) -> None:
    done = unread(tmp_path / "home", *words.split())
    assert (done.returncode, done.stderr) == (codes.UNREAD, b"")


def test_a_command_that_changes_something_does_all_of_it_and_says_what_became_of_it(tmp_path: Path) -> None:
    done = unread(tmp_path / "home", "variable", "set", "RATE", "1")
    assert (done.returncode, done.stderr) == (codes.OK, b"")
    command = [stage.program("sluice"), "variable", "list", "--home", str(tmp_path / "home"), "-o", "name"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=True).stdout == b"RATE\n"
    refused = unread(tmp_path / "home", "variable", "set", "no name", "1")
    assert refused.returncode == codes.FAILED
    assert b"no name" in refused.stderr


def test_a_reader_that_has_gone_is_noticed_before_anything_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its = os.pipe()
    with os.fdopen(its, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert not reader.gone()
        os.close(ours)
        assert reader.gone()
