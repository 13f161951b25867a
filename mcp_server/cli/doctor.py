"""`sluice doctor`: look at everything that a working installation needs, and say what to do about the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import anyio

from core import errors, logs, ownership, settings
from mcp_server.cli import checkup, connect, render
from mcp_server.cli.checkup import Finding

ANSWER_SECONDS = 5
SILENT_HEARTBEATS = 5


async def doctor(
    *, host: str = "127.0.0.1", port: int = settings.DEFAULT_PORT, common: connect.Common = connect.DEFAULTS
) -> int:
    """Check this machine, the home directory and the engine; exits with 1 when something is wrong.

    Parameters
    ----------
    host
        The address that 'sluice serve' is to listen on.
    port
        The port that 'sluice serve' is to listen on.
    """
    wanted = common.settings()
    logs.configure(wanted.log_level)
    findings: list[Finding] = []
    running = await _engine(wanted, common, findings)
    findings += _machine(wanted)
    findings.append(await checkup.port(host, port, engine_runs=running))
    if wanted.nats:
        findings.append(await checkup.nats(wanted.nats))
    findings += checkup.clients()
    findings = [replace(one, hint="") if one.state == "ok" else one for one in findings]
    fine = all(one.state != "fault" for one in findings)
    if common.json:
        render.json({"ok": fine, "checks": [asdict(one) for one in findings]})
        return 0 if fine else 1
    render.rows([asdict(one) for one in findings], ("check", "state", "found", "hint"), empty="")
    bad = sum(one.state == "fault" for one in findings)
    connect.note(
        "All is well." if fine else f"{bad} of {len(findings)} checks found a fault; the hints say what helps."
    )
    return 0 if fine else 1


def _machine(wanted: settings.Settings) -> Iterator[Finding]:
    yield checkup.python()
    yield checkup.libraries()
    yield checkup.extras()
    yield checkup.programs()
    yield checkup.home(wanted.home)
    yield checkup.permissions(wanted.home)
    yield from checkup.restored(wanted.home)
    yield checkup.data(wanted)
    yield checkup.disk(wanted.home)
    yield checkup.open_files(wanted)
    yield checkup.long_answers(wanted)
    yield checkup.sandbox_of(wanted.sandbox)
    yield checkup.wall_clock(wanted.home)
    yield checkup.database(wanted.database)


async def _engine(wanted: settings.Settings, common: connect.Common, findings: list[Finding]) -> bool:
    """Find out who holds the lock, whether it answers, which version it is and how its workers are."""
    held = ownership.held(wanted.home)
    pid = ownership.owner_pid(wanted.home)
    if common.url is None and not held:
        findings.append(Finding("lock", "ok", "nobody holds it"))
        findings.append(
            Finding("engine", "ok", "not running; 'sluice serve' starts it, an MCP client one for its session")
        )
        return False
    findings.append(Finding("lock", "ok", f"held by process {pid}" if common.url is None else "of a remote engine"))
    about: dict[str, Any] = {}
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            if common.url is None:
                about = await _about(wanted)
                findings.append(checkup.version(about, pid))
            async with connect.engine(common) as engine:
                workers = (await engine.call("worker_list", limit=200))["items"]
                findings += await _status(engine)
    except (errors.SluiceError, TimeoutError) as error:
        where = f"process {pid}" if common.url is None else "it"
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error).partition("\n")[0]
        hint = f"Look at process {pid}; if it hangs, stop it, and start another one: sluice serve"
        findings.append(Finding("engine", "fault", f"{where} does not answer: {why}", hint if pid else "Check --url."))
        return True
    if trouble := str(about.get("trouble", "")):
        findings.append(Finding("engine", "fault", errors.shorten(trouble, 500), f"It is process {pid}."))
    else:
        findings.append(Finding("engine", "ok", "answers"))
    findings.append(checkup.workers(workers, wanted.heartbeat_seconds * SILENT_HEARTBEATS))
    findings.append(checkup.sandboxes(workers))
    return True


async def _status(engine: connect.Client) -> list[Finding]:
    """How the engine itself is, when it and this identity tell."""
    try:
        return list(checkup.status(await engine.call("engine_status")))
    except (errors.Forbidden, errors.NotFound):
        return []


async def _about(wanted: settings.Settings) -> dict[str, Any]:
    """What the owner says of itself; nothing when it is so old that it does not know the question."""
    link = await ownership.connect(wanted.home)
    if link is None:
        raise errors.Busy("nobody listens at its socket")
    try:
        said: dict[str, Any] = await link.call("about", {})
        return said
    except errors.NotFound:
        return {}
    finally:
        await link.close()
