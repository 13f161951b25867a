"""`sluice workflow new`: what it writes is a workflow, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_server.cli import main, starting


def test_what_a_template_begins_with_is_valid_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for template in starting._TEMPLATES:
        file = tmp_path / f"{template}.yaml"
        assert main.run(["workflow", "new", "night-shift", "--template", template, "-f", str(file)]) == 0
        assert f"sluice up {file}" in capsys.readouterr().err
        assert main.run(["workflow", "validate", "-f", str(file), "--home", str(tmp_path / "home")]) == 0
        assert "The workflow night-shift is valid." in capsys.readouterr().out


def test_a_file_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert main.run(["workflow", "new", "-f", str(file)]) == 4
    assert file.read_text() == "mine"
    assert main.run(["workflow", "new", "Night Shift"]) == 1
    assert capsys.readouterr().out == ""
    assert main.run(["workflow", "new"]) == 0
    said = capsys.readouterr().out
    assert "\nslug: my-flow\n" in said and said.startswith("# A workflow")
