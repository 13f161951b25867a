"""`sluice runs show` prints the command that shows the log of the run, and that one shows it."""

from __future__ import annotations

import shlex
from pathlib import Path

import orjson
import pytest

from mcp_server.cli import main
from tests import waiting
from tests.engines import served

JOB = """
name: hello
input: {echo: {event: good morning}}
output: {print: STDOUT}
"""


def test_the_command_that_a_run_is_shown_with_prints_its_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, document = tmp_path / "home", tmp_path / "hello.yaml"
    document.write_text(JOB)
    monkeypatch.setenv("SLUICE_HOME", str(home))

    def run(*words: str) -> str:
        assert main.run(words) == 0
        return capsys.readouterr().out

    with served(home, workers=1):
        run("job", "put", "-f", str(document))
        run("job", "deploy", "hello")
        listed = waiting.until_now(lambda: orjson.loads(run("runs", "list", "hello", "--json"))["items"])
        shown = run("runs", "show", listed[0]["run_id"])
        typed = next(line.strip() for line in shown.splitlines() if "sluice logs" in line)
        assert typed == f"sluice logs --run {listed[0]['run_id']}"
        log = waiting.until_now(lambda: run(*shlex.split(typed)[1:]))
        assert "good morning" in log and len(log.splitlines()) == 1
        (line,) = orjson.loads(run("logs", "hello", "--run", listed[0]["name"], "--json"))["items"]
        assert (line["run"], "invocation" in line) == (listed[0]["name"], False)
