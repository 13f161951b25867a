"""Every command explains itself: each flag is in its help, each has an example, and the examples run as written."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import cyclopts
import orjson
import pytest

from core.model.operation import Effect
from core.operations import REGISTRY
from mcp_server.cli import examples, main, stage
from mcp_server.cli.forms import FORMS
from tests import cases, waiting

ROOT = Path(__file__).parents[3]
ELSEWHERE = {
    # commands whose examples are not run here, and why
    "sluice demo": "tests/mcp_server/cli/test_demo.py runs it",
    "sluice serve": "it is the engine of this test",
    "sluice console": "it needs `sluice serve`; tests/console",
    "sluice service status": "it asks systemd; tests/mcp_server/service/test_installing.py",
    "sluice service remove": "it needs a unit in /etc; tests/mcp_server/service/test_installing.py",
    "sluice mcp": "it serves until its client leaves; tests/mcp_server/test_stdio.py",
    "sluice completion": "tests/mcp_server/cli/test_completion.py runs it for each shell",
    "sluice login": "it asks a remote engine; the tests of identity run it",
    "sluice logout": "it asks a remote engine; the tests of identity run it",
    "sluice approve-login": "it needs a program that waits; tests/identity/test_devices.py",
    "sluice worker": "it works until it is stopped; tests/external/test_processes.py",
    **dict.fromkeys(
        ("sluice worker approve", "sluice worker revoke", "sluice worker secrets"),
        "they need a worker that was let in; tests/external/test_enrolment.py",
    ),
    "sluice worker remove": "it needs a worker of another machine; tests/external/test_processes.py",
    "sluice invocation cancel": "it needs a run that has not ended; tests/triggers/test_canceling.py",
    "sluice runs cancel": "it needs a run that has not ended; tests/fleet/test_runs.py",
    "sluice license install": "it needs a signed file; tests/test_license.py",
}


def leaves(app: cyclopts.App, path: str = "") -> list[tuple[str, cyclopts.App]]:
    """Every command that does something, by its path."""
    found = [(path, app)] if path and app.default_command is not None else []
    for name in app:
        if not name.startswith("-"):
            found += leaves(app[name], f"{path} {name}".strip())
    return found


@pytest.mark.usefixtures("described_once")
def test_help_names_every_flag_explains_it_and_ends_with_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "build", functools.cache(main.build))
    apps, listed = leaves(main.build()), main.commands()
    assert {path for path, _ in apps} >= listed.keys()
    with cases.every() as case:
        for path, app in apps:
            with case(f"sluice {path} --help"):
                assert main.run([*path.split(), "--help"]) == 0
                said = capsys.readouterr().out
                for argument in app.assemble_argument_collection(parse_docstring=True):
                    if argument.show and argument.parse:
                        assert argument.parameter.help, f"{argument.name} is not explained"
                        assert argument.name in said or argument.name.upper() in said, argument.name
                shared = ("--home", "--json", "--tenant") if path in listed else ()
                assert [flag for flag in shared if flag not in said] == []
                assert "env var" not in said, "SLUICE_<FLAG> is told once, in the help of the program"
                assert examples.of(path), "it has no example in mcp_server/cli/examples.py"
                assert [line for line in examples.of(path) if line not in " ".join(said.split())] == []


def test_every_line_of_the_story_is_the_example_of_a_command() -> None:
    shown = [line for path, _ in leaves(main.build()) for line in examples.of(path)]
    assert sorted(shown) == sorted(examples.STORY)


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "token.txt").write_text("s3cret\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


@pytest.fixture
async def scene(place: Path) -> AsyncIterator[stage.Stage]:
    made = stage.Stage(
        place / "home",
        SLUICE_PORTALS=f"shared={place / 'examples' / 'portal'}",
        SLUICE_ALLOW_WRITE="1",
        SLUICE_EGRESS_ALLOW="127.0.0.1/32",
    )
    assert main.run(["catalog", "pack", "examples/portal", "--title", "Shared blueprints"]) == 0
    try:
        with anyio.fail_after(30):
            await made.start(workers=3)
        yield made
    finally:
        with anyio.fail_after(30, shield=True):
            await made.stop()


KNOWN = {
    "PLAN_ID": r"\bplan_[0-9A-Za-z]+",
    "INVOCATION_ID": r"\binv_[0-9A-Za-z]+",
    "EVENT_ID": r"\bevt_[0-9A-Za-z]+",
    "LETTER_ID": r"\blet_[0-9a-f]+",
    "RUN_ID": r"\brun_[0-9a-f]+",
    "WORKER_TOKEN": r"\bslw_[0-9a-f]{16}\b",
    "BINDING_ID": r"\brb_[0-9A-Za-z]+",
    "TOKEN_ID": r"\btok_[0-9A-Za-z]+",
}


def reads(line: str) -> bool:
    """Whether a line does an operation that changes nothing, and prints its result."""
    own = [name for name, form in FORMS.items() if line in examples.of(form.path)]
    if "--graph" in line or own == ["gitops_export"]:  # it prints a picture, or writes files
        return False
    return bool(own) and all(REGISTRY[name].effect is Effect.READ for name in own)


@pytest.mark.anyio
async def test_the_examples_run_one_after_the_other(
    place: Path, scene: stage.Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, str] = {}
    with anyio.fail_after(180):
        for line in examples.STORY:
            if any(line in examples.of(known.removeprefix("sluice ")) for known in ELSEWHERE):
                continue
            here = line.replace("http://127.0.0.1:9000", scene.url)  # where callbacks are refused, for good
            words = [seen.get(word, word) for word in shlex.split(here)[1:]]
            while True:
                code = await anyio.to_thread.run_sync(main.run, words)
                done = capfd.readouterr()
                if "error: busy: " not in done.err:
                    break
                await waiting.pause(0.1)  # what the command before began has not ended yet
            assert code == 0, f"{line}\n{done.out}\n{done.err}"
            assert "Traceback" not in done.out + done.err
            if reads(line):
                assert await anyio.to_thread.run_sync(main.run, [*words, "--json"]) == 0, line
                assert orjson.loads(capfd.readouterr().out) is not None, line
            for name, pattern in KNOWN.items():
                found = re.search(pattern, done.out + done.err)
                seen |= {name: found[0]} if found else {}
