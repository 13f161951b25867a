"""Common flags work before a command as they do behind it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from mcp_server.cli import leading, main

GROUPS = {"trigger", "mcp"}


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ("--tenant a status", "status --tenant a"),
        ("--tenant=a --json status web", "status --tenant=a --json web"),
        ("--home h trigger --tenant a list --limit 1", "trigger list --home h --tenant a --limit 1"),
        ("trigger list --tenant a", "trigger list --tenant a"),
        ("plan web --set --json", "plan web --set --json"),
        ("mcp --home h --allow-write", "mcp --home h --allow-write"),
        ("mcp --home h install cursor", "mcp install --home h cursor"),
        ("--bogus status", "--bogus status"),
        ("--json --bogus status", "--bogus status"),
        ("--json", ""),
        ("--tenant", ""),
        ("--json --help", "--help"),
        ("", ""),
    ],
)
def test_flags_move_behind_the_command_and_nothing_else_moves(typed: str, understood: str) -> None:
    assert leading.behind_the_command(typed.split(), GROUPS) == understood.split()


def test_every_common_flag_stands_before_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"--home", "--json", "--tenant", "--url", "--tls-insecure"} <= set(leading.common_flags())
    assert main.run(["variable", "set", "RATE", "1", "--home", str(tmp_path / "home")]) == 0  # which makes the home
    capsys.readouterr()
    assert main.run(["--home", str(tmp_path / "home"), "--tenant", "a", "--json", "status"]) == 0
    assert orjson.loads(capsys.readouterr().out)["items"] == []
    assert main.run(["trigger", "--home", str(tmp_path / "home"), "--json", "list"]) == 0
    assert orjson.loads(capsys.readouterr().out)["items"] == []
