"""`sluice worker --url`: a worker on this machine for the engine of another one."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from core import errors, keyfile, logs, ownership, precedence
from core.confinement import process, sandbox
from core.external import host, websocket
from core.external.sealed import WorkerKey
from core.external.shared_key import KEY_FILE, KEY_PURPOSE
from core.external.ways import ByCredential, BySharedKey, OverNats, OverWebSocket, Way, Wire
from core.fleet import child
from core.guard import filepolicy
from core.model.enrolment import TOKEN_PATTERN
from core.model.worker_group import NAME_PATTERN, External
from core.settings import Settings
from mcp_server.cli import connect, signals

TOKEN_VARIABLE = "SLUICE_WORKER_TOKEN"
TOKEN_PURPOSE = "lets this worker in once"


@dataclass(frozen=True, slots=True)
class Joining:
    """What the flags of `sluice worker` say."""

    url: str | None  # of `sluice serve`, or of a NATS server
    nats: str | None  # of a NATS server
    group: str  # with a copy of the key of the installation alone
    name: str | None
    slots: int
    token: str | None
    token_file: Path | None
    key_file: Path | None
    tls_ca: Path | None
    home: Path | None
    data_root: Path | None
    file_roots: list[str] | None


async def join(flags: Joining) -> int:
    """Be a worker until SIGTERM or Ctrl-C. Raises what the engine refuses, and InvalidParams."""
    _refuse_unfit(flags)
    broker = flags.nats or (flags.url if flags.url and not websocket.is_ours(flags.url) else None)
    settings = precedence.of_operator(
        {"home": flags.home, "nats": broker, "data_root": flags.data_root, "file_roots": flags.file_roots}
    )
    settings = settings.hiding(flags.key_file, flags.token_file, flags.tls_ca)
    logs.configure(settings.log_level)
    settings = settings.model_copy(update={"home": ownership.prepare(settings.home)})
    filepolicy.prepare(settings)
    sandbox.check(settings.sandbox)
    process.hide_memory()  # it holds the key of the worker
    way = _way(flags, broker, settings)
    working = asyncio.create_task(host.work(way, settings, child.spawn, connect.note))
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


def _refuse_unfit(flags: Joining) -> None:
    """Raises InvalidParams."""
    for flag, text in (("--name", flags.name), ("--group", flags.group)):
        if text is not None and not re.fullmatch(NAME_PATTERN, text):
            raise errors.InvalidParams(
                f"{flag} {errors.shorten(text, 80)!r} is no name.", hint="Use up to 63 of a-z, 0-9, _ and -."
            )
    if not 1 <= flags.slots <= 4096:
        raise errors.InvalidParams(f"--slots is {flags.slots}; from 1 to 4096 is allowed.")
    if flags.url and flags.nats:
        raise errors.InvalidParams("--url and --nats both say where the engine is.", hint="Leave --nats out.")


def _way(flags: Joining, broker: str | None, settings: Settings) -> Way:
    """How this worker joins: with a copy of the key of the installation when it was given one, else with a credential
    of its own. Raises InvalidParams, StorageUnavailable, TargetUnavailable."""
    shared = flags.key_file or settings.home / KEY_FILE
    if flags.nats and not flags.token and not flags.token_file and (flags.key_file or shared.exists()):
        connect.note(
            f"This worker joins with a copy of {KEY_FILE}, which goes: ask for a worker token (docs/workers.md)."
        )
        key = WorkerKey(keyfile.read(shared, KEY_PURPOSE))
        member = External(flags.name or _own_name(), flags.group, flags.slots)
        return BySharedKey(OverNats(settings.nats), key, member)
    wire: Wire
    if broker:
        wire = OverNats(settings.nats)
    else:
        assert flags.url is not None
        wire = OverWebSocket(flags.url, flags.tls_ca)
    file = f"{flags.name}.credential" if flags.name else "worker.credential"
    return ByCredential(
        wire,
        settings.home / file,
        token=lambda: _token(flags),
        name=flags.name or "",
        host=_own_name(),
        slots=flags.slots,
        told=connect.note,
    )


def _own_name() -> str:
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower()).strip("-_")[:63] or "worker"


def _token(flags: Joining) -> str:
    """The text of the token. Raises InvalidParams without one, StorageUnavailable."""
    text = flags.token or os.environ.pop(TOKEN_VARIABLE, "")
    if flags.token_file is not None:
        text = keyfile.read(flags.token_file, TOKEN_PURPOSE).decode("utf-8", "replace")
    elif flags.token:
        connect.note("A token on the command line is seen by every process here; --token-file hides it.")
    if not text:
        raise errors.InvalidParams(
            "This worker was not let in yet.",
            hint="Make it a token on the side of the engine (sluice worker-token create), and name the file with it:"
            " --token-file.",
        )
    if not re.fullmatch(TOKEN_PATTERN, text.strip()):
        raise errors.InvalidParams("This is no worker token.", hint="sluice worker-token create makes one (slw_...).")
    return text.strip()
