"""What the kernel has to leave open to a process of jobs; core.confinement closes the rest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from core.confinement.places import Places
from core.fileroots import FileMode
from core.guard.filepolicy import SHARED_MEMORY, FilePolicy


def of(policy: FilePolicy, own: Iterable[str], *, programs: bool, home: str = "", tenant: str | None = None) -> Places:
    """What the kernel has to leave open to a process, so that FileAccess can open what it allows: for the jobs of one
    tenant, or of all. `own` are directories of the process itself, wherever they lie, also in the engine's `home`.

    Private files in an open directory stay for FileAccess to refuse, like links and what a root holds of another one.
    """
    data = policy.data_root if policy.mode is not FileMode.ROOTS else ""
    if data and tenant is not None:
        data = f"{data}/{tenant}"
    mine = [root for root in policy.roots if tenant is None or root.tenant in ("", tenant)]
    write = [*own, *([data] if data else []), *(root.path for root in mine if root.writable)]
    closed = list(policy.denied)
    if policy.mode is FileMode.ANYWHERE:
        closed += [root.path for root in policy.roots if root not in mine or not root.writable]
        closed += [policy.data_root] if tenant is not None else []
        closed += _hidden(policy.homes)
        write.append(SHARED_MEMORY)
    return Places(
        read=tuple(root.path for root in mine if not root.writable),
        write=tuple(write),
        everywhere=policy.mode is FileMode.ANYWHERE,
        closed=tuple(path for path in closed if path),
        secret=tuple(path for path in (home, *policy.private) if path),
        programs=programs,
    )


def _hidden(homes: Iterable[str]) -> Iterator[str]:
    """The entries of home directories that begin with a dot, and one that stands for those to come."""
    for home in homes:
        yield f"{home}/.sluice-hidden"
        with contextlib.suppress(OSError):  # a user without a home, or whose home cannot be listed, and so not used
            yield from (entry.path for entry in os.scandir(home) if entry.name.startswith("."))
