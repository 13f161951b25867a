"""What `sluice doctor` looks at, each check a function that returns one finding and changes nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import httpx

from core import clock, errors, httpclient, ownership
from core import settings as engine_settings
from core.backup import contents, restoring, schedule
from core.confinement import sandbox
from core.fileroots import FileMode
from core.guard import filepolicy
from mcp_server import install, limits, loopback
from mcp_server.http import serving

FREE_BYTES = 200 * 1024 * 1024
FREE_INODES = 1000
CLOCK_SLACK_NS = 5_000_000_000
_LIBRARIES = ("mcp", "fastapi", "uvicorn", "sqlite_utils", "lupa", "jsonschema_rs", "yaml.cyaml", "re2", "httpx")
_EXTRAS = {"s3": "obstore", "parquet": "pyarrow", "documents": "pypdf", "nats": "nats"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; a warning is worth knowing, a fault keeps something from working."""

    check: str
    state: Literal["ok", "warning", "fault"]
    found: str
    hint: str = ""


def python() -> Finding:
    """Python, and the SQLite that it is built with, are not too old."""
    from core.store import connection  # as in `database`

    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < (3, 11):  # noqa: UP036 - this command runs also where pip was told to look away
        return Finding("python", "fault", found, "Sluice needs Python 3.11 or later.")
    try:
        return Finding("python", "ok", f"{found}, SQLite {connection.check_sqlite()}")
    except errors.StorageUnavailable as error:
        return Finding("python", "fault", f"{found}: {error.message}", error.hint)


def libraries() -> Finding:
    """What Sluice is made of can be imported."""
    missing = [f"{name} ({why})" for name in _LIBRARIES if (why := _import_fault(name))]
    if missing:
        return Finding("libraries", "fault", "; ".join(missing), "pip install --force-reinstall sluice-mcp")
    own, mcp = importlib.metadata.version("sluice-mcp"), importlib.metadata.version("mcp")
    return Finding("libraries", "ok", f"sluice-mcp {own}, mcp {mcp}")


def extras() -> Finding:
    """Which extras are installed; one that is there and broken is a fault."""
    there, absent, broken = [], [], []
    for extra, module in _EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            absent.append(extra)
        elif why := _import_fault(module):
            broken.append(f"{extra}: {module} ({why})")
        else:
            there.append(extra)
    hint = f"pip install 'sluice-mcp[{','.join(absent or _EXTRAS)}]'"
    if broken:
        return Finding("extras", "fault", "; ".join(broken), hint)
    found = f"installed: {', '.join(there) or 'none'}" + (f"; to have {', '.join(absent)}: {hint}" if absent else "")
    return Finding("extras", "ok", found)


def _import_fault(name: str) -> str:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return str(error)
    return ""


def programs() -> Finding:
    """Where the programs are; an MCP client starts sluice-mcp by its absolute path."""
    beside = Path(sys.executable).with_name("sluice-mcp")
    found = str(beside) if beside.exists() else shutil.which("sluice-mcp") or ""
    state: Literal["ok", "fault"] = "ok" if found else "fault"
    return Finding("programs", state, found or "sluice-mcp is not found", "Install the package into this environment.")


def home(path: Path) -> Finding:
    """The home directory can be used."""
    if not path.exists():
        return Finding("home", "ok", f"{path} does not exist yet; the first engine makes it")
    try:
        ownership.prepare(path)
    except errors.SluiceError as error:
        return Finding("home", "fault", error.message, error.hint)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding("home", "fault", f"{path} cannot be read and written", f"chmod 700 {path}")
    return Finding("home", "ok", str(path))


def permissions(path: Path) -> Finding:
    """All files at the top of the home are private, whatever they are."""
    open_to_others = []
    looked = 0
    for file in sorted(path.iterdir()) if os.access(path, os.R_OK | os.X_OK) else ():
        try:
            info = file.lstat()
        except OSError:
            continue  # it went meanwhile
        if stat.S_ISDIR(info.st_mode) or stat.S_ISLNK(info.st_mode):
            continue
        looked += 1
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            open_to_others.append(f"{file.name} (mode {stat.S_IMODE(info.st_mode):04o}, user id {info.st_uid})")
    if open_to_others:
        names = " ".join(str(path / one.partition(" ")[0]) for one in open_to_others)
        return Finding("permissions", "fault", f"not yours alone: {', '.join(open_to_others)}", f"chmod 600 {names}")
    return Finding("permissions", "ok", f"{looked} private files are yours alone")


def disk(path: Path) -> Finding:
    """There is room where the home is."""
    place = next(one for one in (path, *path.absolute().parents) if one.exists())
    free, numbers = shutil.disk_usage(place).free, os.statvfs(place)
    found = f"{free // 2**20} MiB free at {place}"
    if numbers.f_files and numbers.f_favail < FREE_INODES:
        return Finding("disk", "fault", f"only {numbers.f_favail} files can be made at {place}", "Remove files there.")
    return Finding("disk", "ok" if free >= FREE_BYTES else "fault", found, "Make room on that disk.")


def data(wanted: engine_settings.Settings) -> Finding:
    """Where jobs read and write is somewhere of their own."""
    try:
        policy = filepolicy.checked(wanted)
    except errors.SluiceError as error:
        return Finding("files", "fault", error.message, error.hint)
    also = "".join(f", {root}" for root in wanted.file_roots)
    if policy.mode is FileMode.ANYWHERE:
        hint = "Set file_access to tenant, and open what jobs need: 'sluice serve --file-root TENANT=/PATH'."
        found = "jobs of every tenant may read and write nearly every file of this user (file_access is anywhere)"
        return Finding("files", "warning", found, hint)
    if policy.mode is FileMode.ROOTS:
        return Finding("files", "ok", f"jobs use {also.removeprefix(', ') or 'no files: there is no file root'}")
    return Finding("files", "ok", f"jobs use {policy.data_root}/TENANT{also}")


def settings(told: Mapping[str, Any], of_the_shell: Sequence[str]) -> Finding:
    """The running engine has what its file says, and nobody believes that this shell has a say."""
    if told["fault"]:
        hint = "'sluice settings' shows each fault; until then no engine starts."
        return Finding("settings", "fault", errors.shorten(str(told["fault"]["message"])), hint)
    found = f"{sum(one['source'] != 'default' for one in told['items'])} are not the default"
    if told["restart"]:
        found += f"; takes effect after a restart: {', '.join(told['restart'])}"
        return Finding("settings", "warning", found, "'sluice settings --changed' shows what the engine has.")
    if told["unknown_groups"]:
        found += f"; tables of worker groups that are not there: {', '.join(told['unknown_groups'])}"
        return Finding("settings", "warning", found, "'sluice group list' shows those that are.")
    set_there = {one["where"] for one in told["items"]}
    if others := [name for name in of_the_shell if name not in set_there]:
        found += f"; this shell sets {', '.join(others)}, and the running engine was started without"
    return Finding("settings", "ok", found)


def open_files(wanted: engine_settings.Settings) -> Finding:
    """The engine may open as many files as workers and clients need."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = 256 + 8 * wanted.workers
    fine = limit == resource.RLIM_INFINITY or limit >= needed
    return Finding("open files", "ok" if fine else "warning", f"at most {limit}", f"ulimit -n {max(1024, needed)}")


def long_answers(wanted: engine_settings.Settings) -> Finding:
    """How many waits, streams and MCP sessions the engine's servers hold open for a user and a tenant."""
    connections = serving.room(wanted).most
    wished = limits.of(wanted)
    most = limits.within(wished, connections)
    told = ", ".join(f"{most[kind].user}/{most[kind].tenant} {kind}s" for kind in limits.KINDS)
    user, tenant = limits.share(connections)
    found = f"at most {told} for a user/tenant, and {user}/{tenant} of {connections} connections"
    less = [
        limits.setting(kind, whose)
        for kind in limits.KINDS
        for whose in limits.WHOSE
        if getattr(most[kind], whose) < getattr(wished[kind], whose)
        and limits.setting(kind, whose) in wanted.model_fields_set
    ]
    if less:
        return Finding(
            "long answers",
            "warning",
            f"{found}; {', '.join(less)} say more",
            "Raise http_connections, and ulimit -n to more than twice as many; or lower those settings.",
        )
    return Finding("long answers", "ok", found)


def wall_clock(path: Path) -> Finding:
    """The wall clock has not gone back behind what this home has recorded."""
    now = clock.now_ns()
    newest = max((one.lstat().st_mtime_ns for one in path.iterdir()), default=0) if path.is_dir() else 0
    found = f"{clock.iso(now)}"
    if newest > now + CLOCK_SLACK_NS:
        ahead = (newest - now) // 1_000_000_000
        hint = "Set the clock (NTP). Until it catches up, deadlines and schedules are late."
        return Finding("clock", "fault", f"{found} is {ahead} s behind a file of the home", hint)
    return Finding("clock", "ok", found)


def database(path: Path) -> Finding:
    """The database is whole, and of this version."""
    from core.store import inspection  # the store is paid for by the one command that looks at it

    if not path.exists():
        return Finding("database", "ok", "none yet")
    seen = inspection.inspect(path)
    if seen.fault:
        hint = "Stop the engine, keep a copy of the home, and restore the last backup."
        return Finding("database", "fault", errors.shorten(seen.fault), hint)
    if seen.unknown:
        found = f"made by a newer Sluice ({', '.join(seen.unknown)})"
        return Finding("database", "fault", found, "Upgrade sluice-mcp, or use another --home.")
    notes = [f"{seen.steps} schema steps", f"{path.stat().st_size // 2**20} MiB"]
    notes += [f"{len(seen.missing)} more steps come with the next start of an engine"] if seen.missing else []
    notes += [] if seen.whole else ["too large to be checked whole here"]
    return Finding("database", "ok", ", ".join(notes))


def version(about: Mapping[str, Any], pid: int | None) -> Finding:
    """The running engine is of the version that this command is of."""
    own = importlib.metadata.version("sluice-mcp")
    theirs = str(about.get("version") or "of an older version")
    if theirs == own:
        return Finding("versions", "ok", f"engine and command are {own}")
    hint = f"Restart the engine (process {pid}), so that both are the same."
    return Finding("versions", "warning", f"the engine is {theirs}, this command {own}", hint)


def workers(rows: Sequence[Mapping[str, Any]], silent_seconds: float) -> Finding:
    """The workers are there and speak."""
    states = [str(row["state"]) for row in rows]
    now = clock.now_ns() / 1e9
    silent = [
        str(row["name"])
        for row in rows
        if row["state"] == "online" and (at := row.get("last_heartbeat_at")) and now - _seconds(at) > silent_seconds
    ]
    found = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
    if silent:
        return Finding("workers", "fault", f"{found}; silent: {', '.join(silent)}", "Look at the log of the engine.")
    if "online" not in states:
        return Finding("workers", "warning", found, "Jobs run on workers: 'sluice serve --workers 2' starts two.")
    if "lost" in states:
        return Finding("workers", "warning", found, "'sluice worker list --state lost' shows which ones.")
    return Finding("workers", "ok", found)


def status(told: Mapping[str, Any]) -> Iterator[Finding]:
    """What keeps the engine going comes through, and no job is kept from the workers."""
    failing = [f"{loop['name']}: {loop['reason']}" for loop in told["loops"] if loop["failing"]]
    failures = sum(loop["failures"] for loop in told["loops"])
    found = "; ".join(failing) or f"{len(told['loops'])} come through" + (f", {failures} failures" if failures else "")
    yield Finding("loops", "fault" if failing else "ok", found, "Each is tried again; the log of the engine says more.")
    jobs = told["quarantined"]
    if jobs:
        hint = "'sluice explain job NAME' tells why, and how it runs again."
        yield Finding("quarantine", "warning", f"{len(jobs)} jobs: {', '.join(jobs[:5])}", hint)
    if told["probation"]:
        found = "; ".join(f"{tenant} until {until}" for tenant, until in told["probation"].items())
        hint = "Its jobs ended workers again and again: what is new of it waits, or runs on a group of its own."
        yield Finding("probation", "warning", found, hint)
    if "backups" in told:  # an older engine does not tell
        yield backups(told["backups"])
    if told["overreached"]:
        found = f"{told['overreached']} times one spoke for a workload that it was not told to run; nobody heard it"
        yield Finding("workers", "warning", found, "The log of the engine names it (worker_overreached).")


def restored(path: Path) -> Iterator[Finding]:
    """A home that was restored has its keys."""
    try:
        note = restoring.note(path)
    except errors.SluiceError as error:
        yield Finding("restore", "warning", error.message, error.hint)
        return
    if note is None:
        return
    found = f"restored from a backup of {clock.iso(note.moment_ns)}"
    missing = [name for name in note.left_out if contents.is_key(name) and not (path / name).exists()]
    if "secrets.key" in missing:
        hint = f"Put secrets.key of the old home into {path} (mode 0600): without it no secret opens."
        yield Finding("restore", "warning", f"{found}, without {', '.join(missing)}", hint)
    else:
        yield Finding("restore", "ok", found)


def backups(told: Mapping[str, Any]) -> Finding:
    """The backups that the engine takes by itself are there."""
    if not told["wanted"]:
        return Finding("backups", "ok", "none are taken by the engine (setting backup_to)")
    if told["trouble"]:
        return Finding("backups", "fault", told["trouble"], "Mend what it names; the engine tries again by itself.")
    if told["last_at"] is None:
        return Finding("backups", "ok", "the first one is on its way")
    found = f"the last one is of {told['last_at']}: {told['archive']}, {told['bytes'] // 2**20} MiB"
    keys = [name for name in told["left_out"] if name in contents.KEYS]
    if keys:
        hint = "Set backup_passphrase_file to have them sealed, or keep them elsewhere (docs/backup.md)."
        return Finding("backups", "warning", f"{found}, without {', '.join(keys)}", hint)
    return Finding("backups", "ok", found)


def backups_recorded(wanted: engine_settings.Settings) -> Iterator[Finding]:
    """Without an engine, which takes them: the home has a backup as young as the last engine was told."""
    known = schedule.recorded(wanted.home)
    every_ns = known.every_ns or (int(wanted.backup_every_hours * 3600 * clock.NANOSECONDS) if wanted.backup_to else 0)
    if not every_ns:
        return
    if trouble := schedule.trouble(known, every_ns, clock.now_ns()):
        yield Finding("backups", "fault", f"{trouble} No engine is running that takes one.", "Start it: sluice serve")
    elif known.succeeded_at_ns:
        yield Finding("backups", "ok", f"the last one is of {clock.iso(known.moment_ns)}: {known.archive}")


def sandbox_of(mode: str) -> Finding:
    """The kernel has what the sandbox of workers is made of."""
    missing = sandbox.lacking()
    if mode == sandbox.Mode.OFF:
        hint = "Leave the setting sandbox at auto, unless something needs it off (docs/sandbox.md)."
        return Finding("sandbox", "warning", "off, by the setting sandbox", hint)
    if missing:
        state: Literal["warning", "fault"] = "fault" if mode == sandbox.Mode.REQUIRE else "warning"
        return Finding("sandbox", state, f"partial: {', '.join(missing)}", sandbox.HINT)
    return Finding("sandbox", "ok", "this kernel has all of it")


def sandboxes(rows: Sequence[Mapping[str, Any]]) -> Finding:
    """The workers that are there are in their sandboxes, on this machine and on others."""
    weak = [f"{row['name']} {said}" for row in rows if (said := row.get("sandbox")) and said != sandbox.FULL]
    if weak:
        return Finding("sandboxes", "warning", "; ".join(weak), sandbox.HINT)
    return Finding("sandboxes", "ok", "every worker that is there is in its own")


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


async def port(host: str, number: int, *, engine_runs: bool) -> Finding:
    """The port of `sluice serve` is free, or it is Sluice that listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), number))
        except OSError as error:
            fault = error.strerror or str(error)
        else:
            return Finding("ports", "ok", f"{host}:{number} is free")
    reached = host if loopback.is_loopback(host) else "127.0.0.1"
    for scheme in ("http", "https"):
        try:
            async with httpclient.open_client(timeout=2, verify=False) as client:  # only who it is
                answer = await client.get(f"{scheme}://{reached}:{number}/health")
            if answer.status_code == 200 and answer.json().get("status") == "ok":
                whose = "" if engine_runs else ", of another home"
                return Finding("ports", "ok", f"Sluice answers at {scheme}://{reached}:{number}{whose}")
        except (httpx.HTTPError, ValueError, AttributeError):
            continue
    hint = "Choose another one: 'sluice serve --port 3001'."
    return Finding("ports", "warning", f"{host}:{number} is not free for Sluice: {fault}", hint)


ASKS = ", and asks this engine whom to let in"
OPEN = "; whoever it lets in may hold back what workers say, unless it asks the engine (sluice nats-config)"


async def nats(url: str, home: Path) -> Finding:
    """The NATS server of workers on other machines answers."""
    from core import natsclient
    from core.external import accounts, identity
    from core.external import nats as wires

    shown, asked = natsclient.without_credentials(url), False
    try:
        wires.require()
        if not (home / identity.IDENTITY_FILE).exists():  # it is the engine that makes it, at its first start
            wire = await wires.connect(url, "sluice doctor")
        else:
            keys = accounts.of(identity.of_home(home))
            wire = await accounts.knock(url, "sluice doctor", keys)
            asked = await accounts.is_asked(wire, keys)
    except errors.SluiceError as error:
        return Finding("nats", "fault", error.message, error.hint)
    await wire.close()
    return Finding("nats", "ok", f"{shown} answers" + (ASKS if asked else OPEN))


def clients() -> Iterator[Finding]:
    """The MCP clients that are told of Sluice, and whether what they would start is there."""
    for name, spec in install.CLIENTS.items():
        path = install.location(name, home=Path.home(), project=Path.cwd())
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))[spec.key][install.SERVER_NAME]
            program = Path(str(entry["command"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # it is not installed, not told of Sluice, or keeps comments, which only its editor reads
        check = f"client {name}"
        if program.is_absolute() and os.access(program, os.X_OK):
            yield Finding(check, "ok", f"{path} starts {program}")
        else:
            hint = f"sluice mcp install {name}"
            yield Finding(check, "fault", f"{path} would start {program}, which is not there", hint)
