"""`sluice backup`, `sluice backup verify` and `sluice restore`: a home as one archive, and back."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import App, Parameter

from core import clock, errors, logs
from core import settings as engine_settings
from core.backup import archive, checking, making, restoring, sealing
from core.backup.manifest import Manifest
from core.confinement import process
from mcp_server.cli import connect, examples, main, reader, render

Given = Annotated[bool, Parameter(negative=())]

app = App(name="backup", help=main.commands()["backup"][1], help_epilogue=examples.epilogue("backup"))
app.command(
    "mcp_server.cli.backups:verify",
    name="verify",
    help=main.commands()["backup verify"][1],
    help_epilogue=examples.epilogue("backup verify"),
)


@app.default
async def backup(
    file: Path,
    /,
    *,
    data: Given = False,
    passphrase_file: Path | None = None,
    without_keys: Given = False,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Make one archive of the home while everything runs.

    Parameters
    ----------
    file
        Where the archive goes: a file that is not there yet, outside of the home.
    data
        Put the data root, with the files of jobs, into it as well.
    passphrase_file
        A file whose first line is the passphrase that seals the keys of the home; it is asked for when left out.
    without_keys
        Leave the keys of the home out.
    """
    _fit_together(passphrase_file, without_keys=without_keys)
    settings = _settings(common, passphrase_file)
    passphrase = None if without_keys else _passphrase(passphrase_file, twice=True)
    reader.acts()
    os.nice(10)  # the engine and its jobs come first
    started = clock.monotonic()
    manifest = await making.make(
        making.Order(settings, file, passphrase, data, passphrase_file=passphrase_file), dict(os.environ)
    )
    size = (await anyio.Path(file).stat()).st_size
    if common.json:
        render.json({"file": str(file), "bytes": size, "moment": manifest.moment, **msgspec.to_builtins(manifest)})
        return 0
    _print(manifest)
    connect.note(f"{file}: {_size(size)} in {clock.monotonic() - started:.1f} s.")
    connect.note(f"What was accepted before {manifest.moment} is in it. To check it: sluice backup verify {file}")
    return 0


async def verify(
    file: Path,
    /,
    *,
    passphrase_file: Path | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Check every part of a backup: its digest, the integrity of its databases, its files, and its keys.

    Parameters
    ----------
    file
        The archive.
    passphrase_file
        A file whose first line is the passphrase of its keys; without one, the keys are not opened.
    """
    logs.configure(connect.QUIET, plain=True)
    passphrase = None if passphrase_file is None else sealing.line_of(passphrase_file)
    manifest, _ = checking.verify(file, passphrase)
    if common.json:
        render.json({"ok": True, "moment": manifest.moment, **msgspec.to_builtins(manifest)})
        return 0
    _print(manifest)
    if manifest.part("keys") is not None:
        connect.note(
            "Its keys open with this passphrase." if passphrase else "Its keys were not opened: no passphrase."
        )
    connect.note(f"{file} is whole: of {manifest.moment}, by Sluice {manifest.sluice}, schema {manifest.schema}.")
    return 0


async def restore(
    file: Path,
    /,
    *,
    passphrase_file: Path | None = None,
    without_keys: Given = False,
    without_data: Given = False,
    data_root: Path | None = None,
    common: connect.Common = connect.DEFAULTS,
) -> int:
    """Put a backup into an empty home; nothing is in its place before every part of it was checked.

    Parameters
    ----------
    file
        The archive.
    passphrase_file
        A file whose first line is the passphrase of its keys; it is asked for when left out.
    without_keys
        Restore without its keys.
    without_data
        Restore without the files of jobs that are in it.
    data_root
        Where the files of jobs go; the home with -data behind its name when left out.
    """
    _fit_together(passphrase_file, without_keys=without_keys)
    settings = _settings(common, passphrase_file, data_root=data_root)
    with archive.open_archive(file) as opened:
        sealed = opened.manifest.part("keys") is not None
    passphrase = _passphrase(passphrase_file, twice=False) if sealed and not without_keys else None
    reader.acts()
    order = restoring.Order(settings, file, passphrase, keys=not without_keys, data=not without_data)
    done = restoring.restore(order)
    if common.json:
        manifest = done.manifest
        render.json(
            {"home": str(settings.home), "moment": manifest.moment, "counts": manifest.counts, "next": done.next}
        )
        return 0
    _print(done.manifest, parts=False)
    connect.note(f"Restored {settings.home} as it was at {done.manifest.moment}. What comes next:")
    for number, sentence in enumerate(done.next, 1):
        connect.note(f"  {number}. {sentence}")
    return 0


def _settings(common: connect.Common, passphrase_file: Path | None, **overrides: object) -> engine_settings.Settings:
    """The settings of a command that works beside the engine, which hides from now on what it holds."""
    if common.url is not None:
        raise errors.InvalidParams(
            "Backups are made and restored on the machine of the engine, and --url names another one.",
            hint="Leave --url out.",
        )
    settings = common.of_operator(overrides).hiding(passphrase_file)
    logs.configure(connect.QUIET, plain=True)
    process.hide_memory()
    return settings


def _fit_together(passphrase_file: Path | None, *, without_keys: bool) -> None:
    if passphrase_file is not None and without_keys:
        raise errors.InvalidParams("--passphrase-file is for the keys, which --without-keys leaves out; give one.")


def _passphrase(file: Path | None, *, twice: bool) -> str:
    """The passphrase of a file, or of whoever types: `twice` and long enough when it seals. Raises InvalidParams."""
    if file is not None:
        return sealing.passphrase_of(file) if twice else sealing.line_of(file)
    if not sys.stdin.isatty():
        raise errors.InvalidParams(
            "The keys are sealed with a passphrase, and there is nobody to ask for it.",
            hint="Name a file with it: --passphrase-file; or leave the keys out: --without-keys.",
        )
    text = getpass.getpass("Passphrase for the keys: ")
    if twice and getpass.getpass("Once more: ") != text:
        raise errors.InvalidParams("The two passphrases differ.")
    return sealing.passphrase(text) if twice else text


def _print(manifest: Manifest, *, parts: bool = True) -> None:
    rows: list[dict[str, Any]] = [
        {"part": one.name, "holds": f"{one.files} files" if one.kind != "database" else one.kind}
        | {"bytes": one.size, "unpacked": one.unpacked, "sha256": one.sha256[:16]}
        for one in manifest.parts
    ]
    if parts:
        render.rows(rows, ("part", "holds", "bytes", "unpacked", "sha256"), empty="")
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in manifest.counts.items())
    connect.note(f"It holds: {counts}.")
    for one in manifest.left_out:
        connect.note(f"Not in it: {one.what} ({one.why})")


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"
