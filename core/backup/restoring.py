"""A backup becomes a home: everything is laid down and checked in a directory within it, and then moved to its place.

The home is locked meanwhile, so no engine starts on it. The database is moved last: a home with the directory and
without a database is one that no engine begins on (core.adoption), and the next restore begins anew there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core import clock, errors, ownership, whereabouts
from core.adoption import RESTORING
from core.backup import archive, checking, contents
from core.backup.manifest import Manifest
from core.settings import Settings
from core.store import inspection

DATA_PLACE = ".restoring"  # in the data root: no tenant is called so
NOTE = "restored.json"  # in the home: where it came from
_WITHOUT = {
    "secrets.key": "Without secrets.key no secret opens.",
    "jwt.key": "Without jwt.key a new one is made, and who has logged in does so again.",
    "engine.identity": "Without engine.identity a new one is made, and workers of other machines need a new token.",
    "worker.key": "Without worker.key a new one is made, and workers that have a copy of it need one of that.",
    "sluice.toml": "Without sluice.toml, which is sealed when it holds a password, the engine has the usual settings.",
    "admin.token": "Without admin.token the token is still good for who has it.",
}
_KEPT = {"engine.lock", "backup.lock"}
_OURS = {RESTORING, DATA_PLACE}


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted. Without a passphrase the keys are left out."""

    settings: Settings
    file: Path
    passphrase: str | None
    keys: bool = True
    data: bool = True


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and what the operator has to know and to do, in sentences."""

    manifest: Manifest
    found: inspection.Description
    next: tuple[str, ...]


class Note(msgspec.Struct, frozen=True):
    """What the home keeps of its restore."""

    moment_ns: int
    restored_at_ns: int
    sluice: str
    left_out: tuple[str, ...]


def note(home: Path) -> Note | None:
    """What a home keeps of its restore; None when it was not restored. Raises StorageUnavailable."""
    try:
        return msgspec.json.decode((home / NOTE).read_bytes(), type=Note)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise errors.StorageUnavailable(f"{home / NOTE} cannot be read: {error}.", hint="It may be removed.") from None


def restore(order: Order) -> Restored:
    """Put a backup into an empty home. Nothing is in its place before all of it was checked.

    Raises Busy (an engine runs there), AlreadyExists (the home or the data root is not empty), InvalidDocument,
    Forbidden (the passphrase), StorageUnavailable, NotFound.
    """
    with archive.open_archive(order.file) as reader:  # before anything is made: it may be no backup
        home = ownership.prepare(order.settings.home)
        owned = ownership.acquire(home)
        if owned is None:
            raise errors.Busy(
                f"Process {ownership.owner_pid(home)} runs on {home}.",
                hint="Stop it, and restore into an empty directory: --home.",
            )
        try:
            return _restored(order, reader, home, owned)
        finally:
            owned.release()


def _restored(order: Order, reader: archive.Reader, home: Path, owned: ownership.Ownership) -> Restored:
    manifest = reader.manifest
    anew = (home / RESTORING).exists() and not (home / contents.DATABASE).exists()
    held = _held(home, "home", "--home", anew=anew)
    wants_keys = manifest.part("keys") is not None and order.keys
    if wants_keys and order.passphrase is None:
        raise errors.InvalidParams(
            "The keys of this backup are sealed.",
            hint="Give their passphrase: --passphrase-file; or leave them out: --without-keys.",
        )
    root = order.settings.data_root.expanduser().absolute()
    data = root if order.data and manifest.part("data") is not None else None
    if data is not None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = "--data-root, or leave the data out: --without-data"
        # Only with the home beside it was it certainly a restore that has put there what is there.
        held += _held(data, "data root", flags, anew=anew and (data / DATA_PLACE).exists())
    _remove(held)
    places = [home / RESTORING, *([] if data is None else [data / DATA_PLACE])]
    try:
        for place in places:
            place.mkdir(mode=0o700)
        checking.room(places[0], [part for part in manifest.parts if part.kind != "data"])
        if data is not None:
            checking.room(places[1], list(manifest.parts))  # the two may be on one disk
        checking.unpack(reader, places[0], None if data is None else places[1])
        found = checking.databases(places[0], manifest)
        keys = _keys(places[0], order.passphrase if wants_keys else None, manifest)
    except BaseException:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
        raise
    missing = _missing(manifest, keys, places[0])
    about = Note(manifest.moment_ns, clock.now_ns(), manifest.sluice, tuple(missing))
    _keep(places[0] / NOTE, msgspec.json.encode(about))
    if data is not None:
        _place(places[1], data)
    owned.name(manifest.home_id)  # from here on, this is a home that lacks its database
    _place(places[0], home)
    return Restored(manifest, found, tuple(_next(order, manifest, found, home, data, missing)))


def _held(place: Path, what: str, flags: str, *, anew: bool) -> list[Path]:
    """What a restore has left there that was cut off (`anew`). Raises AlreadyExists when anything else is there."""
    held = [path for path in place.iterdir() if path.name not in _KEPT]
    if [path for path in held if path.name not in _OURS] and not anew:
        raise errors.AlreadyExists(
            f"The {what} {place} is not empty: it holds {errors.shorten(held[0].name, 60)}.",
            hint=f"A backup is restored into an empty one: name another with {flags}.",
        )
    return held


def _remove(held: list[Path]) -> None:
    for path in held:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _keys(place: Path, passphrase: str | None, manifest: Manifest) -> dict[str, bytes]:
    """Open the keys and lay them down; the sealed ones do not stay."""
    sealed = place / checking.SEALED
    if not sealed.exists():
        return {}
    found = {} if passphrase is None else checking.unseal(sealed.read_bytes(), passphrase, manifest)
    sealed.unlink()
    for name, content in found.items():
        if (place / name).exists():
            raise errors.InvalidDocument(f"This backup has {name} twice: with its files and with its keys.")
        try:
            (place / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _keep(place / name, content)
        except (FileExistsError, NotADirectoryError):
            raise errors.InvalidDocument(
                f"This backup holds {errors.shorten(name, 80)} in a place where it cannot be."
            ) from None
    return found


def _keep(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)


def _place(begun: Path, to: Path) -> None:
    """Move everything to its place, the database at the very end; each is there whole or not at all."""
    _sync(begun)
    for path in sorted(begun.iterdir(), key=lambda path: path.name == contents.DATABASE):
        if path.name == contents.DATABASE:
            _sync(to)
        path.rename(to / path.name)
    _sync(to)
    begun.rmdir()
    _sync(to)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _missing(manifest: Manifest, keys: dict[str, bytes], place: Path) -> list[str]:
    """The keys that the home had and that are not here."""
    absent = [one.what for one in manifest.left_out if one.why == contents.LEFT_WITHOUT_PASSPHRASE]
    if manifest.part("keys") is not None and not keys:
        known = [name for name in _WITHOUT if not (place / name).exists()]  # settings without a password are no key
        absent += [*known, "other keys that are sealed in it"]
    return absent


def _next(
    order: Order,
    manifest: Manifest,
    found: inspection.Description,
    home: Path,
    data: Path | None,
    missing: list[str],
) -> Iterator[str]:
    """What the operator has to know and to do, the most pressing first."""
    if found.known is not None:
        now = whereabouts.here(home, home / contents.DATABASE)
        why = whereabouts.judge(found.known.place, now, whereabouts.original(found.known, home))
        if why:
            yield (
                f"It was at {errors.shorten(manifest.home, 120)}, {why}: stop the engine there for good, then start"
                " this one once with 'sluice serve --adopt'."
            )
    runs, callbacks = found.counts.get("open_invocations", 0), found.counts.get("pending_callbacks", 0)
    if runs or callbacks:
        yield (
            f"It goes on from {manifest.moment}: {runs} runs that were open then are run again, and {callbacks}"
            " callbacks are posted again under the ids that they had, also when that has happened since."
        )
    if missing:
        without = " ".join(text for name, text in _WITHOUT.items() if name in missing)
        yield (
            f"Keys are not here, as far as the home had them ({errors.shorten(', '.join(missing), 200)}): put them into"
            f" {home} (mode 0600) before the first start. {without}"
        ).strip()
    if "engine.identity" not in missing and (home / "engine.identity").exists():
        yield "Workers of other machines join again as before, when they find this engine at the same address."
    root = order.settings.data_root
    if data is not None:
        yield f"The files of jobs are in {data}."
    else:
        before = errors.shorten(manifest.data_root, 120)
        yield f"The files of jobs are not restored: they were in {before}, and are looked for in {root}."
    others = [one.what for one in manifest.left_out if one.why.startswith(("a file root", "the setting", "the key of"))]
    if others:
        yield f"Not in the backup, and needed: {errors.shorten(', '.join(others), 300)}."
    yield "Flags and SLUICE_* variables of the engine are not in a backup: set them as they were."
