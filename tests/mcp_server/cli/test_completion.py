"""Shell completion: what a real bash and fish complete, and where the scripts are put."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cyclopts
import pytest

from mcp_server.cli import completion, main, names

BASH = shutil.which("bash")


@pytest.fixture(autouse=True, scope="module")
def _each_script_is_made_once(described_once: None) -> Iterator[None]:
    """A script depends on nothing but the commands, and takes seconds to make."""
    make, made = cyclopts.App.generate_completion, {}

    def generate(app: cyclopts.App, **wanted: str) -> str:
        key = (wanted.get("prog_name", app.name[0]), wanted["shell"])
        return made[key] if key in made else made.setdefault(key, make(app, **wanted))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cyclopts.App, "generate_completion", generate)
        yield


def script(capsys: pytest.CaptureFixture[str], shell: str) -> str:
    assert main.run(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(script: str, *lines: str, function: str = "") -> list[list[str]]:
    """What bash offers for the last word of each line."""
    assert BASH is not None
    typed = ""
    for line in lines:
        words = line.split(" ")
        asked = " ".join(f"'{word}'" for word in words)
        typed += f"COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; {function or '_' + words[0].replace('-', '_')}\n"
        typed += "printf '%s\\n' \"${COMPREPLY[@]}\" --\n"
    done = subprocess.run(
        [BASH, "--norc", "-s"], input=f"{script}\n{typed}", capture_output=True, text=True, timeout=20, check=True
    )
    return [sorted(map(str.strip, part.splitlines())) for part in done.stdout.split("\n--\n")[:-1]]


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
def test_bash_completes_commands_flags_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    made = script(capsys, "bash")
    lines = ("sluice wor", "sluice job de", "sluice apply --", "sluice completion ", "sluice-mcp ins")
    groups, jobs, flags, shells, programs = completed(made, *lines)
    assert groups == ["worker", "worker-token", "workflow", "workload"]
    assert jobs == ["delete", "deploy"]
    assert "--rollback-on-failure" in flags
    assert shells == sorted(completion.SHELLS)
    assert programs == ["install"]


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
def test_bash_completes_names_that_the_engine_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    stands_in = tmp_path / "sluice"
    stands_in.write_text(f'#!/bin/sh\necho "$@" >> {asked}\nprintf "web\\nweb--print\\nother\\n"\n')
    stands_in.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    made = script(capsys, "bash")
    found = completed(made, "sluice job show web", "sluice job de", function="_sluice_named")
    assert found == [["web", "web--print"], ["delete", "deploy"]]
    assert asked.read_text().splitlines() == [f"{names.WORD} job show", f"{names.WORD} job"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_and_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sluice.fish").write_text(script(capsys, "fish"))
    lines = ("sluice wor", "sluice job de", "sluice apply --roll", "sluice-mcp ins")
    typed = "; ".join(f"complete -C '{line}'; echo end" for line in lines)
    command = ["fish", "--no-config", "-c", f"source sluice.fish; {typed}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
    offers = [[one.partition("\t")[0] for one in part.splitlines()] for part in done.stdout.split("\nend\n")[:-1]]
    assert sorted(offers[0]) == ["worker", "worker-token", "workflow", "workload"]
    assert offers[1:] == [["delete", "deploy"], ["--rollback-on-failure"], ["install"]]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "_sluice").write_text(script(capsys, "zsh"))
    done = subprocess.run(["zsh", "-n", "_sluice"], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "operation"),
    [
        ("status", "deployment_list"),
        ("apply", "plan_list"),
        ("job log", "job_list"),
        ("worker drain", "worker_list"),
        ("trigger invoke", "trigger_list"),
        ("wait deployment", "deployment_list"),
        ("job", None),
        ("job show web", None),
        ("job show --compare", None),
        ("worker list", None),
        ("", None),
    ],
)
def test_a_name_is_offered_where_one_belongs(typed: str, operation: str | None) -> None:
    found = names.wanted(typed.split())
    assert (found[0] if found else None) == operation


def test_without_an_engine_no_name_is_offered_and_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([names.WORD, "--home", str(tmp_path / "none"), "job", "show"]) == 0
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_knows_every_command_and_both_programs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = script(capsys, shell)
    assert main.PROGRAM_MCP in made
    for path in main.commands():
        assert path.split()[-1] in made


def test_the_shell_of_the_user_is_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert main.run(["completion"]) == 0
    assert "complete -c sluice" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/usr/bin/tcsh")
    assert main.run(["completion"]) == 1
    assert "sluice completion bash|zsh|fish" in capsys.readouterr().err


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_install_writes_the_scripts_once_and_tells_where(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert main.run(["completion", shell, "--install"]) == 0
    told = [Path(line.removeprefix("Wrote ")) for line in capsys.readouterr().out.splitlines()]
    assert [path.is_file() and path.is_relative_to(tmp_path) for path in told] == [True, True]
    start = tmp_path / f".{shell}rc"
    before = start.read_text() if start.exists() else ""
    assert main.run(["completion", shell, "--install"]) == 0
    assert (start.read_text() if start.exists() else "") == before


def test_install_leaves_the_start_file_alone_when_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main.run(["completion", "bash", "--install", "--no-startup"]) == 0
    assert not (tmp_path / ".bashrc").exists()


def test_a_worker_without_its_key_is_told_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["worker", "--nats", "nats://127.0.0.1:4222", "--home", str(tmp_path / "home")]) == 1
    said = capsys.readouterr().err
    assert "This worker was not let in yet" in said
    assert "--token-file" in said
    assert main.run(["worker"]) == 0
    assert "drain" in capsys.readouterr().out
