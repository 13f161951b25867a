"""Where the jobs of one worker may read and write, as one value: what the operator opened and what is always closed.

`of` makes it from settings and from what this machine is like; core.dsl.paths holds to it at each opening of a file.
"""

from __future__ import annotations

import os
import pwd
import site
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import core
from core.fileroots import FileMode, FileRoot
from core.settings import Settings

SYSTEM_TREES = ("/etc", "/proc", "/sys", "/dev", "/run", "/boot")
SHARED_MEMORY = "/dev/shm"  # the one place below /dev that holds files
CLOUD_VARIABLES = ("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_")  # beginnings of names of variables that may name a file


@dataclass(frozen=True, slots=True)
class FilePolicy:
    """Where the jobs of one worker may read and write. Without values: nowhere. Paths are absolute.

    What a tenant has of its own comes first, so a data root may lie where other things are denied.
    """

    mode: FileMode = FileMode.ROOTS
    data_root: str = ""  # each tenant has the directory of its name below it, where relative paths start
    roots: tuple[FileRoot, ...] = ()
    denied: tuple[str, ...] = ()  # trees that no job enters
    homes: tuple[str, ...] = ()  # directories whose entries with a dot before their name no job enters
    private: tuple[str, ...] = ()  # files that no job opens, by this or another name

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
    """What these settings allow on this machine, with the file roots of every worker group (see Settings.of_group)."""
    return FilePolicy(
        FileMode(settings.file_access),
        _absolute(settings.data_root),
        settings.file_roots,
        tuple(_forms(_denied(settings))),
        tuple(_forms(_homes())),
        tuple(_forms(_private(settings))),
    )


def _absolute(path: str | Path) -> str:
    return os.path.normpath(os.path.abspath(path))  # noqa: PTH100 - a link is not followed here


def _forms(paths: Iterator[str | Path]) -> Iterator[str]:
    """Each path as it is written and as it really is, once."""
    yield from dict.fromkeys(form for path in paths for form in (_absolute(path), os.path.realpath(path)))


def _homes() -> Iterator[str | Path]:
    yield Path.home()
    try:
        yield pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return  # a user of a container who is in no table


def _denied(settings: Settings) -> Iterator[str | Path]:
    """The engine's own, the programs that run it, where they are imported from, the system, what configures it."""
    yield settings.home
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    yield from site.getsitepackages()
    yield site.getusersitepackages()
    yield from (entry for entry in sys.path if os.path.isabs(entry))  # noqa: PTH117
    yield Path(str(core.__file__)).parent.parent
    yield from SYSTEM_TREES
    if configuration := os.environ.get("XDG_CONFIG_HOME"):
        yield configuration


def _private(settings: Settings) -> Iterator[Path]:
    """Every file that a setting names, and what the environment names for the clients of clouds."""
    for name, field in Settings.model_fields.items():
        if name not in ("home", "data_root") and Path in (field.annotation, *_within(field.annotation)):
            value = getattr(settings, name)
            yield from value if isinstance(value, tuple) else () if value is None else (value,)
    for name, text in os.environ.items():
        if name.startswith(CLOUD_VARIABLES) and text.startswith("/"):
            yield Path(text)


def _within(annotation: Any) -> Iterator[Any]:
    for inner in get_args(annotation):
        yield inner
        yield from _within(inner)
