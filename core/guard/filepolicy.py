"""Where the jobs of one worker may read and write, as one value: what the operator opened and what is always closed.

`of` makes it from settings and from what this machine is like, `prepare` refuses one that opens what is closed;
core.guard.file_access holds to it at each opening of a file.
"""

from __future__ import annotations

import os
import pwd
import site
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import structlog

import core
from core import errors
from core.fileroots import FileMode, FileRoot
from core.settings import Settings

log = structlog.get_logger("core.files")

SYSTEM_TREES = (
    *("/etc", "/proc", "/sys", "/dev", "/run", "/boot"),
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"),  # programs: what is written there runs later
)
SHARED_MEMORY = "/dev/shm"  # the one place below /dev that holds files
CLOUD_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_")  # beginnings of names of variables that may name a file


@dataclass(frozen=True, slots=True)
class FilePolicy:
    """Where the jobs of one worker may read and write. Without values: nowhere. Paths are absolute and go through no
    link, as far as they are there.

    What a tenant has of its own comes first, so a data root may lie where other things are denied.
    """

    mode: FileMode = FileMode.ROOTS
    data_root: str = ""  # each tenant has the directory of its name below it, where relative paths start
    roots: tuple[FileRoot, ...] = ()
    denied: tuple[str, ...] = ()  # trees that no job enters
    homes: tuple[str, ...] = ()  # directories whose entries with a dot before their name no job enters
    private: tuple[str, ...] = ()  # files that no job opens, by this or another name
    granted: bool = True  # whether its token grants what the worker opens; as the engine knows, not said by a worker

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FilePolicy:
        """From the JSON of one."""
        return cls(
            FileMode(data["mode"]),
            data["data_root"],
            tuple(FileRoot(**root) for root in data["roots"]),
            tuple(data["denied"]),
            tuple(data["homes"]),
            tuple(data["private"]),
        )


CLOSED = FilePolicy()
"""No file at all."""


def of(settings: Settings) -> FilePolicy:
    """What these settings allow on this machine; of a worker group, see Settings.of_group."""
    return FilePolicy(
        FileMode(settings.file_access),
        os.path.realpath(settings.data_root.expanduser()),
        tuple(replace(root, path=os.path.realpath(root.path)) for root in settings.file_roots),
        tuple(_forms(chain(_closed(settings), _imports()))),
        tuple(_forms(_homes())),
        tuple(_forms(_private(settings))),
    )


def prepare(settings: Settings) -> None:
    """Make the data root (0700), and warn when jobs may go everywhere.

    Raises InvalidParams for a root that would open to jobs what is closed to them, StorageUnavailable when the data
    root cannot be made.
    """
    policy, modes = checked(settings), {FileMode(one.file_access) for one in settings.each()}
    if FileMode.ANYWHERE in modes:
        log.warning(
            "file_access_anywhere",
            told="Jobs of every tenant may read and write nearly every file of this user: file_access is `anywhere`.",
        )
    if modes == {FileMode.ROOTS}:
        return
    try:
        Path(policy.data_root).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise errors.StorageUnavailable(
            f"The data root {errors.shorten(policy.data_root, 200)} cannot be made: {error.strerror}.",
            hint="Point --data-root (SLUICE_DATA_ROOT) at a directory that you own.",
        ) from error


def checked(settings: Settings) -> FilePolicy:
    """The policy of these settings, of which that of each worker group is looked at as well. Raises InvalidParams like
    `prepare`."""
    for policy in map(of, settings.each()):
        for what, path, fault in _faults(policy, frozenset(_forms(_closed(settings)))):
            raise errors.InvalidParams(
                f"The {what} {errors.shorten(path, 200)} {fault}.",
                hint="Name a directory of its own for the data of jobs, such as /srv/data.",
            )
    return of(settings)


def _faults(policy: FilePolicy, closed: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    """What is wrong with the roots of a policy: (which kind of root, its path, what it does).

    The data root may lie in a directory from which Python imports (the working directory of `python -m`, a checkout
    in the directory of the user), as long as that is not `closed`: a tenant reaches only what is below its own name.
    """
    for home in policy.homes:
        if is_inside(home, policy.data_root):
            yield "data root", policy.data_root, f"holds the home directory {home} of a user"
    for tree in policy.denied:
        if is_inside(tree, policy.data_root) or (tree in closed and is_inside(policy.data_root, tree)):
            yield "data root", policy.data_root, _does(policy.data_root, tree)
    for root in policy.roots:
        if overlap(root.path, policy.data_root):
            why = f"{_does(root.path, policy.data_root)}, where every tenant has a directory of its own"
            yield "file root", root.path, why
        for tree in policy.denied:
            if overlap(root.path, tree) and not is_inside(root.path, SHARED_MEMORY):
                yield "file root", root.path, f"{_does(root.path, tree)}, which no job may enter"
        for home in policy.homes:
            if is_inside(home, root.path):
                yield "file root", root.path, f"holds the home directory {home} of a user with its hidden files"
            elif is_hidden(root.path, home):
                yield "file root", root.path, f"lies in a hidden place of {home}, which no job may enter"
        for file in policy.private:
            if is_inside(root.path, file):
                yield "file root", root.path, "is a private file of the engine's side"


def _does(path: str, tree: str) -> str:
    return f"lies in {tree}" if is_inside(path, tree) else f"holds {tree}"


def is_inside(path: str, tree: str) -> bool:
    """Whether an absolute path is that of a directory or below it."""
    return tree == "/" or path == tree or path.startswith(tree + "/")


def overlap(one: str, other: str) -> bool:
    """Whether one of two directories is the other, or in it."""
    return is_inside(one, other) or is_inside(other, one)


def is_hidden(path: str, home: str) -> bool:
    """Whether an absolute path leads through an entry of a home directory that begins with a dot."""
    return is_inside(path, home) and path[len(home) :].lstrip("/").startswith(".")


def _forms(paths: Iterable[str | Path]) -> Iterator[str]:
    """Each path as it is written (absolute, without `~`, `.` and `..`) and as it really is, once."""
    written = (os.path.abspath(Path(path).expanduser()) for path in paths)  # noqa: PTH100 - it must follow no link
    yield from dict.fromkeys(form for path in written for form in (path, os.path.realpath(path)))


def _homes() -> Iterator[str | Path]:
    yield Path.home()
    try:
        yield pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return  # a user of a container who is in no table


def _closed(settings: Settings) -> Iterator[str | Path]:
    """The engine's own, the programs that run it, the system, and what configures them."""
    yield settings.home
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    yield from site.getsitepackages()
    yield site.getusersitepackages()
    yield from SYSTEM_TREES
    yield os.environ.get("XDG_CONFIG_HOME") or "~/.config"


def _imports() -> Iterator[str | Path]:
    """Where Python imports from besides: what is written there runs later."""
    yield from (entry for entry in sys.path if os.path.isabs(entry))  # noqa: PTH117
    yield Path(str(core.__file__)).parent.parent


def _private(settings: Settings) -> Iterator[Path]:
    yield from named_files(settings)
    if settings.backup_to and "://" not in settings.backup_to:  # it has what the home has
        yield Path(settings.backup_to).expanduser().absolute()
    yield from cloud_files()


def named_files(settings: Settings) -> Iterator[Path]:
    """Every file that a setting or a flag names: what it holds may be a secret."""
    yield from settings.hidden
    for name, field in Settings.model_fields.items():
        if name not in ("home", "data_root") and Path in (field.annotation, *_within(field.annotation)):
            value = getattr(settings, name)
            yield from value if isinstance(value, tuple) else () if value is None else (value,)


def cloud_files() -> Iterator[Path]:
    """What the environment names for the clients of clouds."""
    for name, text in os.environ.items():
        if name.startswith(CLOUD_VARIABLES) and text.startswith("/"):
            yield Path(text)


def _within(annotation: Any) -> Iterator[Any]:
    for inner in get_args(annotation):
        yield inner
        yield from _within(inner)
