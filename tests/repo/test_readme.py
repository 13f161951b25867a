"""The commands of the README, typed as they stand there by somebody who has just installed it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
START_SECONDS = 30


def lines() -> list[str]:
    """The lines that begin with a program of the environment."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    return [line for line in typed if line.startswith(".venv/bin/sluice")]


@pytest.fixture
def newcomer(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who is new here, in a directory with `.venv`."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "XDG_"))}
    return {**kept, "HOME": str(tmp_path), "SLUICE_PORT": "0"}  # 3000 may be taken where tests run


@pytest.fixture
def engine(tmp_path: Path, newcomer: dict[str, str]) -> Iterator[str]:
    """The first of the commands, which goes on running; what it said at its start."""
    assert lines()[0] == ".venv/bin/sluice serve"
    server = subprocess.Popen(
        ["bash", "-c", f"exec {lines()[0]}"], cwd=tmp_path, env=newcomer, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        said = ""
        for line in server.stderr:
            said += line
            if "API docs" in line:
                break
        yield said
    finally:
        server.terminate()
        server.communicate(timeout=START_SECONDS)


def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path, newcomer: dict[str, str], engine: str) -> None:
    assert "Sluice listens on http://127.0.0.1:" in engine
    said = {}
    for line in lines()[1:]:
        words = shlex.split(line.replace(".venv/bin/", f"{Path(sys.executable).parent}/"))
        done = subprocess.run(words, cwd=tmp_path, env=newcomer, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said[line] = done.stdout + done.stderr
    plan = next(text for line, text in said.items() if " plan " in line)
    assert re.search(r"^To carry it out: sluice apply plan_\w+$", plan, re.MULTILINE)
    search = next(text for line, text in said.items() if " catalog search " in line)
    assert "quickstart-file-store-roundtrip" in search
    for line, text in said.items():
        if " mcp install " in line:
            assert "Started it once: " in text
    config = json.loads((tmp_path / ".mcp.json").read_text(encoding="utf-8"))
    assert Path(config["mcpServers"]["sluice"]["command"]).name == "sluice-mcp"
