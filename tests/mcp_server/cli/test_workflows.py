"""`sluice workflow`: faults as compilers print them, drafts and versions, pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import orjson
import pytest

from mcp_server.cli import main
from tests.engines import served

GREETINGS = Path(__file__).parents[3] / "examples" / "greetings.yaml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLUICE_WORKERS", "0")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.run(words)
    done = capsys.readouterr()
    return code, done.out, done.err


def test_faults_are_printed_with_file_line_and_column(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "broken.yaml"
    file.write_text(GREETINGS.read_text(encoding="utf-8").replace("prefix:", "prefixx:"), encoding="utf-8")
    code, out, _ = run(capsys, "workflow", "validate", "-f", str(file))
    assert code == 1
    assert (
        f"{file}:19:12: Step print: blueprint:file-printer@1.0.0 has no parameter prefixx (did you mean prefix?)."
        in out
    )
    code, out, _ = run(capsys, "workflow", "validate", "-f", str(file), "--json")
    assert (code, orjson.loads(out)["errors"][0]["where"]) == (1, f"{file}:19:12")
    assert run(capsys, "workflow", "validate", "-f", str(GREETINGS))[0] == 0


def test_a_file_becomes_a_version_that_can_be_shown_compared_and_retired(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "workflow", "save", "-f", str(GREETINGS))[0] == 0
    with served(home / "home"):
        code, _, err = run(capsys, "plan", "hello", "--from", "workflow:greetings")
    assert (code, "sluice workflow publish greetings" in err) == (1, True), "a draft is not a version yet"
    code, out, err = run(capsys, "workflow", "publish", "greetings")
    assert (code, "version  1" in out) == (0, True)
    assert "sluice plan NAME --from workflow:greetings@1" in err
    changed = home / "changed.yaml"
    changed.write_text(GREETINGS.read_text(encoding="utf-8").replace("1s", "3s"), encoding="utf-8")
    assert run(capsys, "workflow", "clone", "greetings")[0] == 0
    code, _, err = run(capsys, "workflow", "save", "-f", str(changed), "--base-revision", "7")
    assert (code, "started from revision 7" in err) == (4, True)
    assert 'with.interval: "1s" -> "3s"' in err, "what differs is told"
    assert run(capsys, "workflow", "save", "-f", str(changed), "--base-revision", "2")[0] == 0
    code, out, _ = run(capsys, "workflow", "diff", "greetings")
    assert out.splitlines() == [
        "greetings@1 -> greetings@draft: 1 changed",
        "~ step greet",
        '    with.interval: "1s" -> "3s"',
    ]
    code, out, _ = run(capsys, "workflow", "show", "greetings", "--version", "draft")
    assert "interval: 3s" in out
    assert run(capsys, "workflow", "retire", "greetings", "draft")[0] == 0
    assert run(capsys, "workflow", "retire", "greetings", "1")[0] == 0
    code, out, _ = run(capsys, "workflow", "list", "--state", "retired")
    assert "greetings" in out


def test_graphs_are_printed_for_other_programs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "catalog", "show", "quickstart-file-store-roundtrip", "--graph", "svg")
    assert code == 0
    assert ElementTree.fromstring(out).tag.endswith("svg")
    code, out, _ = run(capsys, "workflow", "show", "quickstart-file-store-roundtrip", "--graph", "mermaid")
    assert out.startswith("flowchart LR\n")
