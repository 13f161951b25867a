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
