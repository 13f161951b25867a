"""One backup, from the first look at the home to an archive under its name; in a process that is not the engine.

The engine only copies its databases (core.backup.copying), for nobody else can do that without holding its log back;
packing, hashing and sealing cost it nothing.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core import errors, ownership, reserve
from core.backup import archive, contents, copying, sealing, trees
from core.backup.copying import Around, Copied
from core.backup.manifest import FORMAT, LeftOut, Manifest
from core.backup.staging import staging
from core.contexts import keys
from core.settings import Settings
from core.store import inspection

MOST_LEFT_OUT = 100
_NO_DATA = "not asked for: --data"
_PASSPHRASE = "the passphrase of backups"
_NAMED = "a setting names it, so it may hold a secret"


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted. Without a passphrase the keys are left out.

    `to` None: the archive is made in the home, and goes when `hand` has taken it elsewhere; else `hand` sees it in its
    place. `passphrase_file`: where the passphrase is from, which is in no part of the archive.
    """

    settings: Settings
    to: Path | None
    passphrase: str | None
    data: bool = False
    hand: Callable[[Path, Manifest], None] = lambda file, manifest: None
    passphrase_file: Path | None = None


Copy = Callable[[Path], Awaitable[Copied]]


async def make(order: Order, environment: dict[str, str]) -> Manifest:
    """Write the archive; what it holds. With an engine on the home or without one.

    Raises NotFound (no home), AlreadyExists (the file), Busy (another backup; whoever has the home does not answer),
    StorageUnavailable.
    """
    home = order.settings.home
    if not order.settings.database.exists():
        raise errors.NotFound(f"There is no home in {home}.", hint="Name it with --home, or SLUICE_HOME.")
    home = ownership.prepare(home)
    async with AsyncExitStack() as stack:
        place = stack.enter_context(staging(home))
        copy, around = await _copier(stack, order.settings, home, environment)
        _check_room(home, place)
        if order.to is not None and order.to.resolve().is_relative_to(home):
            raise errors.InvalidParams(f"{order.to} lies in the home; a backup is kept elsewhere.")
        file = order.to or place / "archive.tar"
        with archive.create(file) as writer:
            manifest = await _written(writer, order, home, place, copy, around)
        await asyncio.to_thread(order.hand, file, manifest)
        return manifest


async def _copier(
    stack: AsyncExitStack, settings: Settings, home: Path, environment: dict[str, str]
) -> tuple[Copy, Around]:
    """How the databases are copied: by the engine that runs, or by this process, which holds the lock meanwhile; and
    what is around the home by the settings of either."""
    found = await ownership.own_or_connect(home)
    if isinstance(found, ownership.Ownership):
        stack.callback(found.release)

        async def alone(place: Path) -> Copied:
            copied = await asyncio.to_thread(copying.while_idle, home, place)
            found.release()  # an engine may start while the copies are packed
            return copied

        return alone, copying.around(settings, environment)
    link = found
    stack.push_async_callback(link.close)

    async def asked(place: Path) -> Copied:
        return msgspec.convert((await link.call("copy", {}))["copied"], Copied)

    try:
        return asked, msgspec.convert(await link.call("around", {}), Around)
    except errors.NotFound as error:
        raise errors.Busy(
            "The engine that runs is of an older Sluice, which does not say what is secret in its home.",
            hint="Restart it first.",
        ) from error


def _check_room(home: Path, place: Path) -> None:
    """The copies lie in the home for as long as the backup takes."""
    files = [home / f"{name}{end}" for name in (contents.DATABASE, *contents.BESIDE) for end in ("", "-wal")]
    needed = sum(path.stat().st_size for path in files if path.exists())
    free = reserve.measure(place, 64).free
    if free < needed + 64 * 2**20:
        raise errors.StorageUnavailable(
            f"The databases are copied within {home} first, which takes {needed >> 20} MiB; {free >> 20} are free.",
            hint="Make room on the disk of the home.",
        )


async def _written(
    writer: archive.Writer, order: Order, home: Path, place: Path, copy: Copy, outside: Around
) -> Manifest:
    files = (order.passphrase_file, order.settings.backup_passphrase_file, outside.passphrase_file)
    passphrases, named = contents.withheld(home, outside.secrets, [str(one) for one in files if one])
    without = dict.fromkeys(named, _NAMED) | dict.fromkeys(passphrases, _PASSPHRASE)
    found = contents.sort(home, outside.secrets, passphrases)
    left_out = [LeftOut(name, why) for name, why in found.left_out]
    before = _keys(home, found)
    with writer.packed("home.tar", "files") as into:
        packed = await asyncio.to_thread(trees.pack, home, found.plain, into, without)
    writer.files(packed.files)
    left_out += _skipped("the home", packed)
    left_out += [LeftOut(name, "a database that was set aside") for name in contents.set_aside(home)]
    copied = await copy(place)
    about = inspection.describe(place / contents.DATABASE)
    for name in copied.names:
        if fault := await asyncio.to_thread(inspection.fault_of, place / name):
            # One that is damaged must not push out, in time, all those that are not.
            raise errors.StorageUnavailable(
                f"{name} of {home} is damaged: {errors.shorten(fault, 200)}. No backup was made.",
                hint="'sluice doctor' looks at it; restore the last backup that 'sluice backup verify' finds whole.",
            )
        with writer.packed(name, "database") as into:
            await asyncio.to_thread(_pour, place / name, into)
        (place / name).unlink()
    left_out += await asyncio.to_thread(_data, writer, order, Path(outside.data_root), without)
    moment = copied.moment_ns
    keys_now = _keys(home, contents.sort(home, outside.secrets, passphrases))
    left_out += _seal(writer, order, _together(before, keys_now), f"{about.home_id} {moment}")
    left_out += [LeftOut(root, "a file root: back it up by itself") for root in outside.file_roots]
    elsewhere = contents.outside(home, outside.named, passphrases)
    left_out += [LeftOut(path, "the settings name it outside of the home") for path in elsewhere]
    if outside.secrets_key_in_environment:
        left_out.append(LeftOut(keys.VARIABLE, "the key of the secrets comes from the environment: keep it yourself"))
    manifest = Manifest(
        format=FORMAT,
        sluice=importlib.metadata.version("sluice-mcp"),
        schema=about.schema,
        home_id=about.home_id,
        home=str(home),
        data_root=outside.data_root,
        moment_ns=moment,
        parts=tuple(writer.parts),
        left_out=_bounded(left_out),
        counts=about.counts,
    )
    writer.finish(manifest)
    return manifest


def _bounded(left_out: list[LeftOut]) -> tuple[LeftOut, ...]:
    """What fits the manifest; what does not is counted."""
    told = [LeftOut(errors.shorten(one.what, 200), one.why) for one in left_out[:MOST_LEFT_OUT]]
    if more := len(left_out) - len(told):
        told.append(LeftOut(f"{more} more", "too many to name"))
    return tuple(told)


def _pour(path: Path, into: archive.Counter) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, into, archive.CHUNK)


def _data(writer: archive.Writer, order: Order, root: Path, without: trees.Without) -> list[LeftOut]:
    if not order.data:
        return [LeftOut(str(root), f"the data root, {_NO_DATA}")]
    if order.to is not None and order.to.resolve().is_relative_to(root.resolve()):
        raise errors.InvalidParams(f"{order.to} lies in the data root, which is to be in it: name another place.")
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    with writer.packed("data.tar", "data") as into:
        packed = trees.pack(root, names, into, without)
    writer.files(packed.files)
    return _skipped("the data root", packed)


def _skipped(where: str, packed: trees.Packed) -> list[LeftOut]:
    return [
        LeftOut(f"{count} in {where}, such as {errors.shorten(first, 80)}", kind)
        for kind, (count, first) in packed.skipped.items()
    ]


def _keys(home: Path, found: contents.Sorted) -> dict[str, bytes]:
    """The files with keys. Raises StorageUnavailable when one cannot be read: a backup that lacks it would be told as
    whole."""
    try:
        return {name: (home / name).read_bytes() for name in found.keys}
    except OSError as error:
        raise errors.StorageUnavailable(f"{error.filename} cannot be read: {error.strerror}.") from error


def _together(before: dict[str, bytes], after: dict[str, bytes]) -> dict[str, bytes]:
    """The keys of the secrets from before the copy as well: while they are rotated, its rows are of both."""
    lines = [*after.get(keys.FILE, b"").splitlines(), *before.get(keys.FILE, b"").splitlines()]
    joined = b"".join(line + b"\n" for line in dict.fromkeys(lines) if line.strip())
    return {**after, keys.FILE: joined} if joined else after


def _seal(writer: archive.Writer, order: Order, found: dict[str, bytes], bound_to: str) -> list[LeftOut]:
    if order.passphrase is None:
        return [LeftOut(name, contents.LEFT_WITHOUT_PASSPHRASE) for name in found]
    sealed = sealing.seal(found, order.passphrase, bound_to)
    with writer.part("keys.sealed", "keys") as sink:
        sink.write(sealed)
    writer.files(len(found))
    return []
