"""`sluice worker --nats`: a worker on this machine for the engine of another one."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

from core import errors, keyfile, logs, ownership, precedence
from core.confinement import process, sandbox
from core.external import host
from core.external.gateway import KEY_FILE, KEY_PURPOSE
from core.external.sealed import WorkerKey
from core.fleet import child
from core.guard import filepolicy
from core.model.worker_group import NAME_PATTERN, External
from mcp_server.cli import connect, signals


async def join(
    url: str,
    group: str,
    name: str | None,
    slots: int,
    *,
    key_file: Path | None,
    home: Path | None,
    data_root: Path | None,
    file_roots: list[str] | None,
) -> int:
    """Be a worker until SIGTERM or Ctrl-C. Raises what the engine refuses, and InvalidParams."""
    name = name or re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower()).strip("-_")[:63] or "worker"
    for flag, text in (("--name", name), ("--group", group)):
        if not re.fullmatch(NAME_PATTERN, text):
            raise errors.InvalidParams(
                f"{flag} {errors.shorten(text, 80)!r} is no name.", hint="Use up to 63 of a-z, 0-9, _ and -."
            )
    if not 1 <= slots <= 4096:
        raise errors.InvalidParams(f"--slots is {slots}; from 1 to 4096 is allowed.")
    settings = precedence.of_operator({"home": home, "nats": url, "data_root": data_root, "file_roots": file_roots})
    settings = settings.of_group(group).hiding(key_file)
    logs.configure(settings.log_level)
    settings = settings.model_copy(update={"home": ownership.prepare(settings.home)})
    filepolicy.prepare(settings)
    sandbox.check(settings.sandbox)
    process.hide_memory()  # it holds the worker key
    try:
        key = WorkerKey(keyfile.read(key_file or settings.home / KEY_FILE, KEY_PURPOSE))
    except errors.StorageUnavailable as error:
        hint = f"Copy {KEY_FILE} from the home directory of the engine (0600), and name it with --key-file."
        raise errors.StorageUnavailable(error.message, hint=error.hint if "chmod" in error.hint else hint) from None
    member = External(name, group, slots)
    working = asyncio.create_task(host.work(settings.nats, key, member, settings, child.spawn, connect.note))
    with signals.StopRequest() as stop:
        stopping = asyncio.create_task(stop.taken())
        done, _ = await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    if working in done:
        stopping.cancel()
        await working  # raises why
    connect.note(f"{stopping.result().name}: draining")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return 0
