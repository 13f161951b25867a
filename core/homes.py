"""Where a home directory is: asked before any setting is read, and by those who need no other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "SLUICE_HOME"


def default_home() -> Path:
    """The platform's user data directory + `sluice`."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "sluice"
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "sluice"


def named(given: Path | None) -> Path:
    """The home that a flag names, or else the environment, or else the usual one."""
    return given or Path(os.environ.get(VARIABLE) or default_home())


def begun(home: Path) -> bool:
    """Whether a home is there, or was: its database, one that was set aside, its name in its lock, or the beginning of
    a restore. One that nobody here may look into counts as there: who opens it is told why he may not."""
    try:
        names = [path.name for path in home.iterdir()]
        if any(name.startswith("sluice.db") or name == "restoring" for name in names):
            return True
        return "engine.lock" in names and len((home / "engine.lock").read_text("ascii").split()) > 1
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
