"""`sluice doctor`: look at everything that a working installation needs, and say what to do about the rest."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from core import errors, ownership
from mcp_server.cli import connect, render

FREE_BYTES = 200 * 1024 * 1024
ANSWER_SECONDS = 5
_LIBRARIES = ("mcp", "fastapi", "uvicorn", "sqlite_utils", "lupa", "jsonschema_rs", "ruamel.yaml", "re2", "httpx")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    found: str
    hint: str = ""


async def doctor(*, common: connect.Common = connect.DEFAULTS) -> int:
    """Check this machine, the home directory and the engine."""
    home = common.settings().home
    findings = [_python(), _libraries(), _home(home), _space(home), await _engine(common), _program()]
    if common.json:
        render.json({"ok": all(one.ok for one in findings), "checks": [asdict(one) for one in findings]})
    else:
        render.rows(
            [
                {
                    "check": one.check,
                    "ok": "ok" if one.ok else "NO",
                    "found": one.found,
                    "hint": "" if one.ok else one.hint,
                }
                for one in findings
            ],
            ("check", "ok", "found", "hint"),
            empty="",
        )
    return 0 if all(one.ok for one in findings) else 1


def _python() -> Finding:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    return Finding("python", sys.version_info >= (3, 11), found, "Sluice needs Python 3.11 or later.")


def _libraries() -> Finding:
    missing = []
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    version = importlib.metadata.version("sluice-mcp")
    if missing:
        return Finding("libraries", False, "; ".join(missing), "pip install --force-reinstall sluice-mcp")
    return Finding("libraries", True, f"sluice-mcp {version}, mcp {importlib.metadata.version('mcp')}")


def _home(home: Path) -> Finding:
    if not home.exists():
        return Finding("home", True, f"{home} does not exist yet; the first engine makes it")
    try:
        ownership.prepare(home)
    except errors.SluiceError as error:
        return Finding("home", False, error.message, error.hint)
    return Finding("home", True, str(home))


def _space(home: Path) -> Finding:
    place = next(path for path in (home, *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    return Finding("disk", free >= FREE_BYTES, f"{free // 2**20} MiB free at {place}", "Make room on that disk.")


async def _engine(common: connect.Common) -> Finding:
    home = common.settings().home
    pid = ownership.owner_pid(home)
    if common.url is None and (pid is None or not _alive(pid)):
        return Finding("engine", True, "not running; 'sluice serve' or an MCP client starts it")
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            async with connect.engine(common) as engine:
                workers = (await engine.call("worker_list"))["items"]
    except (errors.SluiceError, TimeoutError) as error:
        return Finding(
            "engine", False, f"process {pid} does not answer: {error}", f"Look at process {pid}, or stop it."
        )
    online = sum(one["state"] == "online" for one in workers)
    return Finding("engine", True, f"process {pid}, {online} of {len(workers)} workers online")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _program() -> Finding:
    path = Path(sys.executable).with_name("sluice-mcp")
    found = shutil.which("sluice-mcp") or (str(path) if path.exists() else "")
    return Finding("sluice-mcp", bool(found), found or "not found", "Install the package into this environment.")
