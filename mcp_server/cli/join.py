"""`sluice worker --url`: a worker on this machine for the engine of another one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
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
CREDENTIAL_FILE = "worker.credential"
LOCK_FILE = "worker.lock"
MOST_BYTES = 4096


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
    # A worker that joins over HTTP may know a NATS server as well, for channels that are streams of it.
    over_nats = flags.url is None or not websocket.is_ours(flags.url)
    settings = precedence.of_operator(
        {
            "home": flags.home,
            "nats": (over_nats and flags.url) or flags.nats,
            "data_root": flags.data_root,
            "file_roots": flags.file_roots,
        }
    )
    settings = settings.hiding(flags.key_file, flags.token_file, flags.tls_ca)
    logs.configure(settings.log_level)
    settings = settings.model_copy(update={"home": ownership.prepare(settings.home)})
    filepolicy.prepare(settings)
    sandbox.check(settings.sandbox)
    process.hide_memory()  # it holds the key of the worker
    with _alone(settings.home):
        way = _way(flags, over_nats, settings)
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
    if flags.token and flags.token_file:
        raise errors.InvalidParams("--token and --token-file say the same.", hint="Leave --token out.")
    if flags.url and not websocket.is_ours(flags.url) and not flags.url.startswith(("nats://", "tls://")):
        raise errors.InvalidParams(
            f"--url {errors.shorten(flags.url, 100)} is no address of an engine.",
            hint="Use https://HOST:PORT (or http://), where 'sluice serve' listens, or nats://HOST:PORT.",
        )


def _way(flags: Joining, over_nats: bool, settings: Settings) -> Way:
    """How this worker joins: with a copy of the key of the installation when it was given one, else with a credential
    of its own. Raises InvalidParams, StorageUnavailable, TargetUnavailable."""
    token = _token(flags)
    shared = flags.key_file or settings.home / KEY_FILE
    if over_nats and not flags.url and not token and (flags.key_file or shared.exists()):
        connect.note(
            f"This worker joins with a copy of {KEY_FILE}, which goes: ask for a worker token (docs/workers.md)."
        )
        key = WorkerKey(keyfile.read(shared, KEY_PURPOSE))
        member = External(flags.name or _own_name(), flags.group, flags.slots)
        return BySharedKey(OverNats(settings.nats), key, member)
    wire: Wire
    if over_nats:
        wire = OverNats(settings.nats)
    else:
        assert flags.url is not None
        wire = OverWebSocket(flags.url, flags.tls_ca)
    return ByCredential(
        wire,
        settings.home / CREDENTIAL_FILE,
        token=token,
        name=flags.name or "",
        host=_own_name(),
        slots=flags.slots,
        told=connect.note,
    )


def _own_name() -> str:
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower()).strip("-_")[:63] or "worker"


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep the home of a worker for this process. Raises Busy when another one has it, InvalidParams for the home of an
    engine."""
    if (home / "sluice.db").exists():
        raise errors.InvalidParams(
            f"{home} is the home of an engine.", hint="Give the worker one of its own: --home DIRECTORY."
        )
    handle = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise errors.AlreadyExists(
                f"Another 'sluice worker' runs with the home {home}.", hint="Give each worker a --home of its own."
            ) from None
        yield
    finally:
        os.close(handle)


def _token(flags: Joining) -> str:
    """The text of the token that was given; empty without one. Raises InvalidParams."""
    text = flags.token or os.environ.pop(TOKEN_VARIABLE, "")
    if flags.token_file is not None:
        text = _read(flags.token_file)
    elif flags.token:
        connect.note("A token on the command line is seen by every process here; --token-file hides it.")
    if text and not re.fullmatch(TOKEN_PATTERN, text.strip()):
        raise errors.InvalidParams(
            "This is no worker token: slw_, an id, a secret and a fingerprint, on one line.",
            hint="sluice worker-token create --group GROUP makes one.",
        )
    return text.strip()


def _read(file: Path) -> str:
    """What is in the file of a token. Raises InvalidParams."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_bytes()[:MOST_BYTES].decode("utf-8", "replace")
    except FileNotFoundError:
        return ""  # it was used and removed: a worker with a credential needs none
    except OSError as error:
        raise errors.InvalidParams(f"--token-file {file} cannot be read: {error.strerror}.") from None
    if mode & 0o077:
        raise errors.InvalidParams(
            f"Others can read the worker token in {file} (mode {mode:04o}).",
            hint=f"If nobody did: chmod 600 {file}. Else withdraw it: sluice worker-token revoke"
            f" {text.strip()[:20] if text.startswith('slw_') else 'ID'}.",
        )
    if not text.strip():
        raise errors.InvalidParams(
            f"There is no token in {file}.", hint="sluice worker-token create --group GROUP makes one."
        )
    return text
