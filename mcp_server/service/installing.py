"""Put the unit of an engine in its place, take it away, tell how it is: the shell around `unit`.

What is done to the machine is first a list of steps, so that whoever asks sees them before they are done. A file that
lacks our marker is somebody else's, and neither replaced nor removed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core import errors
from mcp_server.service import unit

SYSTEM_UNITS = Path("/etc/systemd/system")
RUNS = Path("/run/systemd/system")  # sd_booted(3)
SHOWN = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "StatusText", "NRestarts", "Result")
COMMAND_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Place:
    """Where units of this sort are, and how their manager is called."""

    units: Path
    of_user: bool

    def file(self, name: str) -> Path:
        return self.units / f"{name}.service"

    def systemctl(self, *words: str) -> list[str]:
        return ["systemctl", *(("--user",) if self.of_user else ()), *words]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done to the machine: a command, a directory for an account, or a file; told in `words`."""

    words: str
    command: tuple[str, ...] = ()
    directory: Path | None = None
    owner: str | None = None
    file: Path | None = None
    content: str = ""


def place(*, of_user: bool) -> Place:
    """Of the system, or of the user who asks."""
    if not of_user:
        return Place(SYSTEM_UNITS, of_user=False)
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Place(Path(config) / "systemd" / "user", of_user=True)


def program() -> Path:
    """`sluice` of this installation."""
    beside = Path(sys.executable).with_name("sluice")
    found = str(beside) if beside.exists() else shutil.which("sluice")
    if found is None:
        raise errors.NotFound("The program sluice is not installed beside this Python.", hint="pip install sluice-mcp")
    return Path(found).absolute()


def check(where: Place) -> None:
    """Raises TargetUnavailable where no systemd runs, Forbidden where one needs root."""
    if not sys.platform.startswith("linux") or not RUNS.is_dir() or shutil.which("systemctl") is None:
        raise errors.TargetUnavailable(
            "A service needs Linux with systemd, which does not run here.",
            hint="--dry-run prints the unit all the same; anything else that keeps `sluice serve` running will do.",
        )
    if not where.of_user and os.geteuid() != 0:
        raise errors.Forbidden(
            "A service of the system is root's to install and remove.", hint="Use sudo, or --user for one of your own."
        )


def is_ours(file: Path) -> bool:
    """Whether we wrote the file. Raises NotFound when it is not there."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").startswith(unit.MARKER)
    except FileNotFoundError:
        raise errors.NotFound(f"There is no {file}.", hint="'sluice service install' writes it.") from None


def installing(where: Place, name: str, wish: unit.Wish) -> list[Step]:
    """What installing does, in order. Raises AlreadyExists for a unit of that name that we did not write."""
    file = where.file(name)
    if file.exists() and not is_ours(file):
        raise errors.AlreadyExists(
            f"{file} was not written by 'sluice service install'.", hint="Choose another --name, or move it away."
        )
    return list(_installing(where, file, wish))


def _installing(where: Place, file: Path, wish: unit.Wish) -> Iterator[Step]:
    if wish.account and not _exists(wish.account):
        words = ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(wish.home))
        command = (*words, "--shell", "/usr/sbin/nologin", wish.account)
        yield Step(f"make the account {wish.account}", command=command)
    for path in wish.written:
        if not path.exists():
            owner = f" for {wish.account}" if wish.account else ""
            yield Step(f"make the directory {path}{owner}", directory=path, owner=wish.account)
    begun = wish.database.exists()
    verb = "replace" if file.exists() else "write"
    yield Step(f"{verb} {file}", file=file, content=unit.text(replace(wish, begun=begun)))
    yield _command(where, "have systemd read it", "daemon-reload")
    yield _command(where, "start it, now and when the machine starts", "enable", file.name)
    yield _command(where, "wait until it is ready", "restart", file.name)
    if not begun:  # the first start has made it, and no other one shall
        yield Step(f"have {file} start on this home alone", file=file, content=unit.text(wish))
        yield _command(where, "have systemd read it", "daemon-reload")


def removing(where: Place, name: str) -> list[Step]:
    """What removing does. Raises NotFound, and Forbidden for a unit that we did not write."""
    file = where.file(name)
    if not is_ours(file):
        raise errors.Forbidden(
            f"{file} was not written by 'sluice service install', and stays.", hint="Remove it by hand if it is yours."
        )
    return [
        _command(where, "stop it, and start it no more", "disable", "--now", file.name),
        Step(f"remove {file}", file=file),
        _command(where, "have systemd forget it", "daemon-reload"),
    ]


def _command(where: Place, what: str, *words: str) -> Step:
    command = where.systemctl(*words)
    return Step(f"{what}: {' '.join(command)}", command=tuple(command))


def _exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True


def carry_out(step: Step) -> None:
    """Do one. Raises TargetUnavailable with what the command said when it failed."""
    if step.command:
        _run(step.command)
    if step.directory is not None:
        step.directory.mkdir(mode=0o700, parents=True)
        if step.owner is not None:
            shutil.chown(step.directory, step.owner, step.owner)
    if step.file is not None:
        _put(step.file, step.content)


def _put(file: Path, content: str) -> None:
    if not content:
        file.unlink()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.write_text(content, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(file)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.TargetUnavailable(f"{' '.join(command)}: {error}") from None
    if done.returncode:
        said = errors.shorten(" ".join((done.stderr or done.stdout).split()), 300)
        raise errors.TargetUnavailable(
            f"{' '.join(command)} ended with {done.returncode}: {said}",
            hint="The journal says more: journalctl -u NAME (with --user for a service of your own).",
        )
    return done.stdout


def status(where: Place, name: str) -> dict[str, str]:
    """How the service is, as systemd tells it, and where its unit is."""
    said = _run(where.systemctl("show", f"{name}.service", f"--property={','.join(SHOWN)}"))
    pairs = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    file = where.file(name)
    written = "no unit" if not file.exists() else str(file) if is_ours(file) else f"{file}, which is not ours"
    return {"Unit": written, **pairs}
