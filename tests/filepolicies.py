"""What workers of tests allow to jobs: their files lie in directories that pytest made."""

from __future__ import annotations

from pathlib import Path

from core.fileroots import FileMode, FileRoot
from core.guard.filepolicy import FilePolicy


def everywhere(data_root: Path | str = "", *denied: Path) -> FilePolicy:
    """Everything but what is denied; relative paths start below the data root."""
    return FilePolicy(FileMode.ANYWHERE, str(data_root), denied=tuple(map(str, denied)))


def only(*roots: Path | str) -> FilePolicy:
    """What lies in these file roots, each written as operators write it."""
    return FilePolicy(FileMode.ROOTS, roots=tuple(FileRoot.parse(str(root)) for root in roots))


EVERYWHERE = everywhere()
