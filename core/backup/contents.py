"""What a home is made of, and which of it goes where in a backup.

`PARTS` is the one list of what Sluice itself keeps in a home. What is not on it is left out and told by name, but for
the files of the home that a setting names: they are sealed like keys, whatever they hold.
"""

from __future__ import annotations

import enum
import os
import re
import stat
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

DATABASE = "sluice.db"
BESIDE = ("letters.db", "logs.db", "series.db")
"""The other files of the store, in the order in which they are copied."""
SETTINGS = "sluice.toml"


class Kind(enum.Enum):
    """What becomes of a part of the home in a backup."""

    PLAIN = "plain"  # taken as it lies there, with all that is in it
    KEY = "key"  # sealed with the passphrase
    DATABASE = "database"  # copied by SQLite
    LOCAL = "local"  # of a process, or of what happens here: of no use elsewhere


PARTS = {
    SETTINGS: Kind.PLAIN,  # a key when an address in it has a password
    "license.json": Kind.PLAIN,
    "state": Kind.PLAIN,
    "tls/cert.pem": Kind.PLAIN,
    "tls/key.pem": Kind.KEY,
    "admin.token": Kind.KEY,
    "engine.identity": Kind.KEY,
    "jwt.key": Kind.KEY,
    "secrets.key": Kind.KEY,
    "worker.key": Kind.KEY,
    **{
        f"{name}{end}": Kind.LOCAL if end else Kind.DATABASE
        for name in (DATABASE, *BESIDE)
        for end in ("", "-wal", "-shm", "-journal")
    },
    "engine.lock": Kind.LOCAL,
    "engine.sock": Kind.LOCAL,
    "http.address": Kind.LOCAL,
    "scratch": Kind.LOCAL,
    "backup.lock": Kind.LOCAL,
    "backup.part": Kind.LOCAL,
    "backup.json": Kind.LOCAL,
    "backup.new": Kind.LOCAL,
    "restoring": Kind.LOCAL,
    "restored.json": Kind.LOCAL,
}
"""Name, of a file or of a directory with all that is in it -> what becomes of it. A directory of which only parts are
here (tls) has nothing else that is taken."""
KEYS = frozenset(name for name, kind in PARTS.items() if kind is Kind.KEY) | {SETTINGS}
"""What is left out of a backup without a passphrase, as far as it is there."""
LEFT_WITHOUT_PASSPHRASE = "left out by choice: put it into the restored home (mode 0600)"
MOST_NAMED_BYTES = 384 * 1024
"""Of all files together that settings name: what is sealed has a bound (core.backup.sealing)."""

_LOCAL = re.compile(  # what no archive may lay down: Sluice has packed more than it does now, but never these
    r"engine\.(?:lock|sock)|backup\.(?:lock|part|json)|restoring|restored\.json"
    r"|scratch|http\.address"
    r"|(?:sluice|letters|logs|series)\.db(?:-wal|-shm|-journal)?"
    r"|sluice\.db\..+"  # set aside: saved, or of before an upgrade
    r"|.*\.partial"
)
_PASSWORD = re.compile(rb"://[^/\s\"'@]*@")  # within an address: a user, with or without a password, or a token
_KEY = re.compile(r".*\.(?:key|identity|credential|token|pass|passphrase)(?:\.new)?|.*key\.pem")

Identity = tuple[int, int]
"""Which file it is, by whatever name: its device and its number there."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The files of a home by what becomes of them, in names that are relative to it."""

    plain: tuple[str, ...]
    keys: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    """With the reason why."""


def sort(home: Path, named: Iterable[str], passphrases: Set[Identity]) -> Sorted:
    """Say of all that lies in a home (its real path) what becomes of it. `named`: files that settings name, in the home
    or elsewhere; `passphrases`: what must not be in the archive that is sealed with them."""
    plain: list[str] = []
    keys: list[str] = []
    left: list[tuple[str, str]] = []
    own = dict(_named(home, named))
    room = MOST_NAMED_BYTES
    for name in dict.fromkeys([*_entries(home), *own]):
        try:
            info = (home / name).lstat()
        except FileNotFoundError:
            continue
        kind = PARTS.get(name)
        if kind is Kind.PLAIN and name == SETTINGS and _has_password(home / name):
            kind = Kind.KEY
        if kind in (Kind.LOCAL, Kind.DATABASE):
            continue
        if (info.st_dev, info.st_ino) in passphrases:
            left.append((name, "a passphrase file: whoever had the backup could open its keys with it"))
        elif kind is Kind.PLAIN:
            plain.append(name)
        elif kind is None and name not in own:
            left.append((name, "nothing that Sluice keeps in a home: back it up by itself"))
        elif not stat.S_ISREG(info.st_mode):
            left.append((name, "link" if stat.S_ISLNK(info.st_mode) else "no plain file"))
        elif kind is None and info.st_size > room:
            left.append((name, "a setting names it, and it is too large to be sealed: back it up by itself"))
        else:
            room -= info.st_size if kind is None else 0
            keys.append(name)
    return Sorted(tuple(plain), tuple(keys), tuple(left))


def withheld(home: Path, named: Iterable[str], passphrases: Iterable[str]) -> tuple[set[Identity], set[Identity]]:
    """Files that are in no tree of plain files, wherever in it they lie: (passphrases, others that settings name)."""
    parts = {home / name for name in PARTS}
    others = (path for path in named if _real(path) not in parts)
    secret = set(_identities(passphrases))
    return secret, set(_identities(others)) - secret


def set_aside(home: Path) -> Iterator[str]:
    """Databases that lie beside the one that is used, which an operator is asked about or may go back to."""
    yield from sorted(path.name for path in home.glob(f"{DATABASE}.*"))


def is_key(name: str) -> bool:
    """Whether a name is one of a key, in a backup of this Sluice or of one before, which sealed whatever was called so
    at the top of the home."""
    directory, slash, last = name.rpartition("/")
    if name == SETTINGS:
        return True
    return bool(_KEY.fullmatch(last)) and (directory, slash) in (("", ""), ("tls", "/"))


def can_be_sealed(name: str) -> bool:
    """Whether `sort` could find a key by this name: one of Sluice, or a file of the home that a setting names."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or ".." in parts or "/".join(parts) != name:
        return False
    return is_key(name) or not _LOCAL.fullmatch(parts[0])


def is_file(name: str) -> bool:
    """Whether an archive may have this name among the files of the home: one of this Sluice, or of one before, which
    packed whatever lay there."""
    return name == SETTINGS or (not _LOCAL.fullmatch(name.partition("/")[0]) and not is_key(name))


def outside(home: Path, named: Iterable[str], passphrases: Set[Identity]) -> Iterator[str]:
    """The files that settings name and that lie elsewhere than in the home, but for the passphrases."""
    for path in dict.fromkeys(named):
        if not _real(path).is_relative_to(home) and not passphrases & set(_identities([path])):
            yield path


def _entries(home: Path) -> Iterator[str]:
    """What lies in the home, but for databases that were set aside; of a directory of which only parts are known, what
    is in it."""
    known = {str(PurePosixPath(name).parent) for name in PARTS} - {"."}
    aside = set(set_aside(home))
    for path in sorted(home.iterdir()):
        if path.name in known and path.is_dir() and not path.is_symlink():
            yield from (f"{path.name}/{one.name}" for one in sorted(path.iterdir()))
        elif path.name not in aside:
            yield path.name


def _named(home: Path, named: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for path in map(_real, named):
        if path.is_relative_to(home) and path != home:
            yield path.relative_to(home).as_posix(), path


def _real(path: str) -> Path:
    """Where a file really lies; it may be a link itself."""
    absolute = Path(path).expanduser().absolute()
    return Path(os.path.realpath(absolute.parent)) / absolute.name


def _identities(paths: Iterable[str]) -> Iterator[Identity]:
    for path in paths:
        try:
            info = Path(path).expanduser().stat()
        except OSError:  # it is not there, or nobody here may know
            continue
        yield info.st_dev, info.st_ino


def _has_password(path: Path) -> bool:
    try:
        return bool(_PASSWORD.search(path.read_bytes()))
    except OSError:  # who cannot read it cannot back it up either, which is told where that is tried
        return False
