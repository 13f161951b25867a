"""The configuration that each MCP client wants: one table, one writer. `sluice mcp install` calls it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import errors

SERVER_NAME = "sluice"


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """One MCP client: where its configuration lives and what an entry looks like.

    `path` may start with `~` (the home), `%CONFIG%` (the platform's configuration directory) or be relative to the
    project directory.
    """

    title: str
    path: str
    key: str
    typed: bool = False
    restart: str = "Restart it to pick the server up."


CLIENTS: dict[str, ClientSpec] = {
    "claude-code": ClientSpec("Claude Code", ".mcp.json", "mcpServers", restart="Start claude in this directory."),
    "claude-desktop": ClientSpec("Claude Desktop", "%CONFIG%/Claude/claude_desktop_config.json", "mcpServers"),
    "vscode": ClientSpec("VS Code", ".vscode/mcp.json", "servers", typed=True, restart="Reload the window."),
    "cursor": ClientSpec("Cursor", "~/.cursor/mcp.json", "mcpServers"),
    "windsurf": ClientSpec("Windsurf", "~/.codeium/windsurf/mcp_config.json", "mcpServers"),
    "zed": ClientSpec("Zed", "%ZED%/settings.json", "context_servers", restart="It reloads by itself."),
}


def command() -> str:
    """The absolute path of sluice-mcp: a desktop application has no PATH of a shell."""
    beside = Path(sys.executable).with_name("sluice-mcp")
    if beside.exists():
        return str(beside)
    found = shutil.which("sluice-mcp")
    if found is None:
        raise errors.NotFound(
            "The program sluice-mcp is not installed beside this Python.", hint="pip install sluice-mcp"
        )
    return str(Path(found).absolute())


def entry(client: str, program: str, args: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    """The entry of this server in a client's configuration."""
    out: dict[str, Any] = {"type": "stdio"} if CLIENTS[client].typed else {}
    out |= {"command": program, "args": list(args)}
    if env:
        out["env"] = dict(env)
    return out


def document(client: str, program: str, args: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    """The smallest configuration file of a client that has this server."""
    return {CLIENTS[client].key: {SERVER_NAME: entry(client, program, args, env)}}


def location(client: str, *, home: Path, project: Path, platform: str = sys.platform) -> Path:
    """Where a client reads its configuration."""
    path = CLIENTS[client].path
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    roots = {
        "%CONFIG%": home / "Library" / "Application Support" if platform == "darwin" else config,
        "%ZED%": home / ".config" / "zed" if platform == "darwin" else config / "zed",
        "~": home,
    }
    first, _, rest = path.partition("/")
    return roots[first] / rest if first in roots else project / path


def write(path: Path, addition: dict[str, Any]) -> bool:
    """Put the server into a configuration file, leaving everything else in it; false when it was there already.

    Raises InvalidDocument, and writes nothing, when the file is not plain JSON (some editors allow comments):
    rewriting it would lose them.
    """
    existing: dict[str, Any] = {}
    if path.exists():
        text = path.read_text(encoding="utf-8")
        try:
            existing = json.loads(text) if text.strip() else {}
        except ValueError as error:
            raise _by_hand(path, addition, str(error)) from None
        if not isinstance(existing, dict):
            raise _by_hand(path, addition, "it is not an object")
    before = json.dumps(existing)
    for key, servers in addition.items():
        present = existing.setdefault(key, {})
        if not isinstance(present, dict):
            raise _by_hand(path, addition, f"{key} is not an object")
        present.update(servers)
    if json.dumps(existing) == before:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".sluice-new")
    fresh.write_text(json.dumps(existing, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if path.exists():
        shutil.copymode(path, fresh)
    fresh.replace(path)
    return True


def _by_hand(path: Path, addition: dict[str, Any], why: str) -> errors.InvalidDocument:
    return errors.InvalidDocument(
        f"{path} was not changed, because it is not plain JSON ({errors.shorten(why, 100)}).",
        hint=f"Add this to it by hand: {json.dumps(addition)}",
        errors=[errors.Problem("", "is not plain JSON", str(path))],
    )
