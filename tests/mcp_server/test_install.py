"""The configuration of six MCP clients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import errors
from mcp_server import install

GOLDEN = Path(__file__).parent / "golden"
PROGRAM = "/opt/sluice/bin/sluice-mcp"
ARGS = ["--allow-write"]
ENV = {"SLUICE_HOME": "/srv/sluice"}


@pytest.mark.parametrize("client", install.CLIENTS)
def test_the_configuration_is_the_one_that_the_client_reads(client: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert install.write(path, install.document(client, PROGRAM, ARGS, ENV))
    assert path.read_text() == (GOLDEN / f"{client}.json").read_text()


@pytest.mark.parametrize(
    ("client", "platform", "expected"),
    [
        ("claude-code", "linux", "project/.mcp.json"),
        ("claude-desktop", "linux", "home/.config/Claude/claude_desktop_config.json"),
        ("claude-desktop", "darwin", "home/Library/Application Support/Claude/claude_desktop_config.json"),
        ("vscode", "linux", "project/.vscode/mcp.json"),
        ("cursor", "linux", "home/.cursor/mcp.json"),
        ("windsurf", "linux", "home/.codeium/windsurf/mcp_config.json"),
        ("zed", "darwin", "home/.config/zed/settings.json"),
    ],
)
def test_each_client_has_its_place(
    client: str, platform: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    found = install.location(client, home=tmp_path / "home", project=tmp_path / "project", platform=platform)
    assert found == tmp_path / expected


def test_other_servers_and_settings_stay(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"theme": "ü", "mcpServers": {"other": {"command": "x"}, "sluice": {"command": "old"}}}))
    path.chmod(0o600)
    assert install.write(path, install.document("cursor", PROGRAM, [], {}))
    after = json.loads(path.read_text())
    assert after["theme"] == "ü"
    assert after["mcpServers"] == {"other": {"command": "x"}, "sluice": {"command": PROGRAM, "args": []}}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["mcp.json"]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    wanted = install.document("cursor", PROGRAM, ARGS, ENV)
    assert install.write(path, wanted)
    assert not install.write(path, wanted)


@pytest.mark.parametrize("text", ['{"a": 1, // a comment\n}', "[]", '{"mcpServers": []}', "{"])
def test_a_file_that_is_not_plain_json_is_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(errors.InvalidDocument) as caught:
        install.write(path, install.document("cursor", PROGRAM, ARGS, ENV))
    assert path.read_text() == text
    assert PROGRAM in caught.value.hint


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.json"
    path.parent.mkdir()
    path.write_text("")
    assert install.write(path, install.document("zed", PROGRAM, [], {}))
    assert "context_servers" in json.loads(path.read_text())
