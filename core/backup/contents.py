"""Which files of a home go where: databases are copied, keys are sealed, and the rest is taken as it lies there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DATABASE = "sluice.db"
BESIDE = ("letters.db", "logs.db", "series.db")
"""The other files of the store, in the order in which they are copied."""
_LOCAL = re.compile(
    r"engine\.(?:lock|sock)|backup\.(?:lock|part|json)|restoring|restored\.json"  # of what happens here
    r"|scratch|http\.address"
    r"|(?:sluice|letters|logs|series)\.db(?:-wal|-shm|-journal)?"
    r"|sluice\.db\..+"  # set aside: saved, or of before an upgrade
    r"|.*\.partial"
)
SETTINGS = "sluice.toml"
_PASSWORD = re.compile(rb"://[^/\s\"'@]*:[^/\s\"'@]*@")  # within an address
_KEY = re.compile(r".*\.(?:key|identity|credential|token|pass|passphrase)(?:\.new)?|.*key\.pem")


def keys(home: Path) -> Iterator[str]:
    """What others could act with: files at the top of the home that are called like a key, the key of its TLS, and the
    settings when an address in them has a password."""
    for path in sorted([*home.iterdir(), *(home / "tls").glob("*")]):
        name = path.relative_to(home).as_posix()
        if name == SETTINGS and not _has_password(path):
            continue
        if is_key(name) and not _LOCAL.fullmatch(name) and path.is_file() and not path.is_symlink():
            yield name


def set_aside(home: Path) -> Iterator[str]:
    """Databases that lie beside the one that is used, which an operator is asked about or may go back to."""
    yield from sorted(path.name for path in home.glob(f"{DATABASE}.*"))


def files(home: Path) -> Iterator[str]:
    """What else belongs to the home and not to a process: files and directories (with all in them but keys)."""
    for path in sorted(home.iterdir()):
        if is_file(path.name) and not (path.name == SETTINGS and _has_password(path)):
            yield path.name


def is_key(name: str) -> bool:
    """Whether a name is one under which `keys` finds something."""
    directory, slash, last = name.rpartition("/")
    if name == SETTINGS:
        return True
    return bool(_KEY.fullmatch(last)) and (directory, slash) in (("", ""), ("tls", "/"))


def is_file(name: str) -> bool:
    """Whether `files` could give this name, or the directory that it lies in."""
    return name == SETTINGS or (not _LOCAL.fullmatch(name.partition("/")[0]) and not is_key(name))


def _has_password(path: Path) -> bool:
    try:
        return bool(_PASSWORD.search(path.read_bytes()))
    except OSError:  # who cannot read it cannot back it up either, which is told where that is tried
        return False
