"""The way into the sandbox: `enter`, once, early in the life of a process; and what that tells of itself afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from core import errors
from core.confinement import landlock, places, process, seccomp
from core.confinement.places import Places

FULL, OFF = "full", "off"
HINT = "docs/sandbox.md says what a kernel needs; sandbox=auto (SLUICE_SANDBOX=auto) takes what there is."


class Mode(StrEnum):
    """How much a worker insists on its sandbox (setting `sandbox`)."""

    AUTO = "auto"
    REQUIRE = "require"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What holds in a process that has entered."""

    state: str  # `full`, `off`, or `partial: ` with what is lacking
    resolver: tuple[tuple[str, int], ...] = ()  # the files that name resolution reads, with their inodes

    def outdated(self) -> str:
        """The path of a file of the resolver that was replaced and cannot be read any more; "" while there is none.

        Whoever writes /etc/resolv.conf makes a new file, and what is open to a confined process was said about the old
        one. A new process can read it.
        """
        for path, inode in self.resolver:
            if _inode(path) != inode:
                try:
                    os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                except PermissionError:
                    return path
                except OSError:
                    continue
        return ""


def lacking() -> list[str]:
    """What this kernel does not have of the sandbox, in words; nothing when it is whole."""
    found, version = [], landlock.abi()
    if version == 0:
        found.append("no Landlock")
    elif version < landlock.SIGNALS_ABI:
        found.append(f"signals are not closed (Landlock {version})")
    if not seccomp.supported():
        found.append(f"no seccomp on {os.uname().machine}")
    return found


def check(mode: str) -> None:
    """Raise TargetUnavailable when workers have to have the sandbox and this kernel lacks a part of it."""
    if mode == Mode.REQUIRE and (missing := lacking()):
        raise _refusal(missing)


def enter(mode: str, given: Places, scratch: Path) -> Sandbox:
    """Confine this process, which has one thread yet, and all that it starts, until its end.

    In every mode: no core dumps, bounded files, an empty HOME and a temporary directory of its own, both in `scratch`,
    which is emptied. Raises TargetUnavailable in the mode `require` when anything is lacking, OSError when `scratch`
    cannot be made.
    """
    process.hide_memory()
    process.limit()
    _settle(scratch)
    if mode == Mode.OFF:
        return Sandbox(OFF)
    missing = lacking()
    if mode == Mode.REQUIRE and missing:
        raise _refusal(missing)
    if len(list(Path("/proc/self/task").iterdir())) > 1:  # a part that only its calling thread is bound by
        missing.append("threads that were started before it")
    version, filtered = landlock.abi(), seccomp.supported()
    opened = replace(given, read=(*given.read, os.environ["HOME"]), write=(*given.write, os.environ["TMPDIR"]))
    rules = list(places.rules(opened)) if version else []
    try:
        process.give_up_privileges()
        if version:
            landlock.restrict(rules)
        if filtered:
            seccomp.install(deny_truncate=0 < version < landlock.TRUNCATE_ABI)
    except OSError as error:  # a kernel or a container that refuses what it said it has
        missing.append(f"refused: {error.strerror}")
    if mode == Mode.REQUIRE and missing:
        raise _refusal(missing)
    state = f"partial: {', '.join(missing)}" if missing else FULL
    return Sandbox(state, tuple((path, _inode(path)) for path in places.RESOLVER) if version else ())


def _settle(scratch: Path) -> None:
    """An empty home and an empty temporary directory; HOME and TMPDIR name them."""
    shutil.rmtree(scratch, ignore_errors=True)
    for name, variable in (("home", "HOME"), ("tmp", "TMPDIR")):
        place = scratch / name
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[variable] = str(place)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - each second: no Path objects here
    except OSError:
        return 0


def _refusal(missing: Iterable[str]) -> errors.TargetUnavailable:
    return errors.TargetUnavailable(
        f"Workers have to have their sandbox (sandbox=require), and this machine lacks: {', '.join(missing)}.",
        hint=HINT,
    )
