"""`sluice doctor`: look at everything that a working installation needs, and say what to do about the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import anyio

from core import effective, errors, logs, ownership, precedence, settings
from mcp_server.cli import checkup, connect, render
from mcp_server.cli.checkup import Finding

ANSWER_SECONDS = 5
SILENT_HEARTBEATS = 5


async def doctor(*, host: str | None = None, port: int | None = None, common: connect.Common = connect.DEFAULTS) -> int:
    """Check this machine, the home directory and the engine; exits with 1 when something is wrong.

    The settings are those that the running engine has; without one, those that 'sluice serve' would have here.

    Parameters
    ----------
    host
        The address that 'sluice serve' is to listen on, where it is to be another one than the settings say.
    port
        The port that 'sluice serve' is to listen on, likewise.
    """
    visitor = common.settings()
    logs.configure(visitor.log_level)
    findings: list[Finding] = []
    told: dict[str, Any] = {}
    running = await _engine(visitor, common, findings, told)
    wanted = effective.of_told(told["items"]) if told else None
    if wanted is None:
        wanted = _to_be(visitor, common, findings, running=running)
    else:
        findings.append(checkup.settings(told, precedence.unheeded()))
    findings += _machine(wanted)
    if not running:
        findings += checkup.backups_recorded(wanted)
    served = wanted.serve or settings.Serve()
    findings.append(await checkup.port(host or served.host, served.port if port is None else port, engine_runs=running))
    if wanted.nats and "//***@" not in wanted.nats:  # else only the engine knows how to get in
        findings.append(await checkup.nats(wanted.nats, wanted.home))
    findings += checkup.clients()
    findings = [replace(one, hint="") if one.state == "ok" else one for one in findings]
    fine = all(one.state != "fault" for one in findings)
    if common.json:
        render.json({"ok": fine, "checks": [asdict(one) for one in findings]})
        return 0 if fine else 1
    render.rows([asdict(one) for one in findings], ("check", "state", "found", "hint"), empty="")
    bad = sum(one.state == "fault" for one in findings)
    idle = "" if running else " No engine is running."
    connect.note(
        ("All is well." if fine else f"{bad} of {len(findings)} checks found a fault; the hints say what helps.") + idle
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


def _to_be(
    visitor: settings.Settings, common: connect.Common, findings: list[Finding], *, running: bool
) -> settings.Settings:
    """The settings that `sluice serve` would have in this shell; where an engine runs that does not say, those of the
    home. A file that would be refused is a fault."""
    try:
        return common.of_home() if running else common.of_operator({}, {})
    except errors.SluiceError as error:
        places = "; ".join(f"{one.where}: {one.message}" for one in error.errors)
        found = errors.shorten(f"{error.message} {places}".strip(), 2000)
        findings.append(Finding("settings", "fault", found, error.hint))
        return visitor


async def _engine(
    wanted: settings.Settings, common: connect.Common, findings: list[Finding], told: dict[str, Any]
) -> bool:
    """Find out who holds the lock, whether it answers, which version it is, how its workers are, and what it was told
    (`told`, left empty when it does not say)."""
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
    rest: list[Finding] = []  # whether an engine runs comes first
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            if common.url is None:
                about = await _about(wanted)
                rest.append(checkup.version(about, pid))
            async with connect.engine(common) as engine:
                workers = (await engine.call("worker_list", limit=200))["items"]
                rest += await _status(engine)
                told.update(await _settings(engine) if common.url is None else {})
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
    findings += rest
    findings.append(checkup.workers(workers, wanted.heartbeat_seconds * SILENT_HEARTBEATS))
    findings.append(checkup.sandboxes(workers))
    return True


async def _status(engine: connect.Client) -> list[Finding]:
    """How the engine itself is, when it and this identity tell."""
    try:
        return list(checkup.status(await engine.call("engine_status")))
    except (errors.Forbidden, errors.NotFound):
        return []


async def _settings(engine: connect.Client) -> dict[str, Any]:
    """The settings of the engine; nothing when it is too old to tell."""
    try:
        return await engine.call("settings_get")
    except (errors.Forbidden, errors.NotFound):
        return {}


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
