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


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that there is: one that is only read from is not made."""
    home = tmp_path_factory.mktemp("begun") / "home"
    assert unread(home, "variable", "set", "RATE", "1").returncode == codes.OK
    return home


@pytest.mark.parametrize("words", ["variable list", "catalog search", "--help", "variable --help"])
def test_a_command_that_looks_ends_without_a_word(begun: Path, words: str) -> None:
    done = unread(begun, *words.split())
    assert (done.returncode, done.stderr) == (codes.UNREAD, b"")


def test_a_command_that_changes_something_does_all_of_it_and_says_what_became_of_it(tmp_path: Path) -> None:
    done = unread(tmp_path / "home", "variable", "set", "RATE", "1")
    assert (done.returncode, done.stderr) == (codes.OK, b"")
    command = [stage.program("sluice"), "variable", "list", "--home", str(tmp_path / "home"), "-o", "name"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=True).stdout == b"RATE\n"
    refused = unread(tmp_path / "home", "variable", "set", "no name", "1")
    assert refused.returncode == codes.FAILED
    assert b"no name" in refused.stderr


def to_a_full_disk(home: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [stage.program("sluice"), *words, "--home", str(home)]
    with Path("/dev/full").open("wb") as full:
        return subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)


@pytest.mark.parametrize("words", ["variable list", "catalog search", "variable --help"])
def test_an_output_that_cannot_be_written_is_told_in_a_line(begun: Path, words: str) -> None:
    done = to_a_full_disk(begun, *words.split())
    assert done.stderr == b"error: Standard output cannot be written: No space left on device.\n"
    assert done.returncode == codes.UNWRITTEN


def test_a_command_that_changes_something_does_it_although_its_output_cannot_be_written(tmp_path: Path) -> None:
    done = to_a_full_disk(tmp_path / "home", "variable", "set", "RATE", "1")
    assert (done.returncode, done.stderr.count(b"\n")) == (codes.UNWRITTEN, 1)
    command = [stage.program("sluice"), "variable", "list", "--home", str(tmp_path / "home"), "-o", "name"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=True).stdout == b"RATE\n"
    refused = to_a_full_disk(tmp_path / "home", "variable", "set", "no name", "1")
    assert refused.returncode == codes.FAILED


def test_a_command_without_standard_output_works(tmp_path: Path) -> None:
    words = ["variable", "set", "A", "1", "--home", str(tmp_path)]
    line = ["sh", "-c", 'exec "$0" "$@" >&-', stage.program("sluice"), *words]
    done = subprocess.run(line, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == codes.OK and b"error" not in done.stderr


def test_what_the_encoding_of_the_output_lacks_is_replaced(tmp_path: Path) -> None:
    program, place = stage.program("sluice"), ["--home", str(tmp_path / "home")]
    subprocess.run([program, "variable", "set", "CITY", "Łódź", *place], capture_output=True, timeout=60, check=True)
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [program, "variable", "list", *place]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=latin)
    assert (done.returncode, done.stderr) == (codes.OK, b"")
    assert "?ód?".encode("latin-1") in done.stdout


def test_a_reader_that_has_gone_is_noticed_before_anything_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its = os.pipe()
    with os.fdopen(its, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert not reader.gone()
        os.close(ours)
        assert reader.gone()
