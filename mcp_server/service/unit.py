"""The unit file of an engine, from what is wanted of it. Pure: the same wish makes the same text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcp_server.service import quoting

MARKER = "# Written by `sluice service install`; `sluice service remove` takes it away again."
STATE = Path("/var/lib")
WATCHDOG_SECONDS = 60
START_SECONDS = 900  # the first start of a new version brings the database up to it, however large that is
STOP_SECONDS = 30  # beyond what the server and its workers take to drain
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # a colon has a meaning of its own in StateDirectory
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))

# What the engine, its workers and their commands call. @sandbox is what workers shut themselves in with (Landlock,
# seccomp); prlimit bounds their memory and files, which @resources would be taken out with.
CALLS = (
    "@system-service",
    "@sandbox",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "seccomp",
)
DENIED_CALLS = ("@privileged", "@keyring", "@memlock", "@obsolete")  # of @system-service
FAMILIES = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")  # the last: which addresses there are, for name resolution


@dataclass(frozen=True, slots=True)
class Wish:
    """What the unit shall run, and where that reads and writes. Paths are absolute.

    `account` is the user that a system service runs as; a service of a user runs as that one. `begun`: the home is
    there, and no later start makes another one in its place.
    """

    program: Path
    home: Path
    data_root: Path
    flags: tuple[str, ...] = ()
    writable: tuple[Path, ...] = ()
    account: str | None = None
    drain_seconds: float = 5.0
    begun: bool = True

    @property
    def database(self) -> Path:
        """What a home that has begun has."""
        return self.home / "sluice.db"

    @property
    def states(self) -> list[str]:
        """Home and data root below /var/lib, of a system service: systemd makes them, for its account alone."""
        kept = (self.home, self.data_root) if self.account else ()
        return [path.name for path in kept if path.parent == STATE and _NAME.fullmatch(path.name)]

    @property
    def written(self) -> list[Path]:
        """The other directories that have to be there, and can be written."""
        made = {STATE / name for name in self.states} if self.account else set()
        return [path for path in dict.fromkeys((self.home, self.data_root, *self.writable)) if path not in made]

    @property
    def command(self) -> list[str]:
        """What is run."""
        where = ["--home", str(self.home), "--data-root", str(self.data_root)]
        return [str(self.program), "serve", *where, *self.flags]


def text(wish: Wish) -> str:
    """The whole file. Raises InvalidParams for a path that no unit file can hold."""
    lines = [
        MARKER,
        "[Unit]",
        "Description=Sluice, a control plane for data pipelines",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=300",
        "StartLimitBurst=10",
        *_begun(wish),
        "",
        "[Service]",
        *_running(wish),
        "",
        *_closed(wish),
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if wish.account else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


def _begun(wish: Wish) -> Iterator[str]:
    if wish.begun:
        yield "# A home that is not in its place any more (moved, or its disk not mounted) is not begun anew by itself."
        yield f"AssertPathExists={quoting.line(str(wish.database))}"


def _running(wish: Wish) -> Iterator[str]:
    yield "Type=notify"
    yield f"ExecStart={quoting.command(wish.command)}"
    yield "EnvironmentFile=-%E/sluice/environment"  # SLUICE_* that shall not stand here, as a password in `nats`
    if wish.account:
        yield f"User={wish.account}"
        if wish.states:
            yield f"StateDirectory={' '.join(map(quoting.word, wish.states))}"
            yield "StateDirectoryMode=0700"
    yield "Restart=on-failure"
    yield "RestartSec=2"
    yield "RestartPreventExitStatus=2"  # wrong flags do not become right
    yield f"TimeoutStartSec={START_SECONDS}"
    yield f"WatchdogSec={WATCHDOG_SECONDS}"
    yield "KillMode=mixed"  # the engine alone is told, and drains its workers; what is left at the end is killed
    yield f"TimeoutStopSec={round(2 * wish.drain_seconds) + STOP_SECONDS}"
    yield "OOMPolicy=continue"  # the kernel ends one worker, and the engine starts it again
    yield "LimitNOFILE=65536"
    yield "SyslogIdentifier=sluice"


def _closed(wish: Wish) -> Iterator[str]:
    yield "NoNewPrivileges=yes"
    yield "UMask=0077"
    yield "LockPersonality=yes"
    yield "RestrictNamespaces=yes"
    yield "RestrictRealtime=yes"
    yield "RestrictSUIDSGID=yes"
    yield f"RestrictAddressFamilies={' '.join(FAMILIES)}"
    yield "SystemCallArchitectures=native"
    yield f"SystemCallFilter={' '.join(CALLS)}"
    yield f"SystemCallFilter=~{' '.join(DENIED_CALLS)}"
    yield "SystemCallErrorNumber=EPERM"
    if not wish.account:  # the rest takes a mount namespace, which many machines do not give to users
        return
    yield "CapabilityBoundingSet="
    yield "AmbientCapabilities="
    yield "ProtectSystem=strict"
    yield f"ProtectHome={'read-only' if _below_homes(wish) else 'yes'}"
    if wish.written:
        yield f"ReadWritePaths={' '.join(quoting.word(str(path)) for path in wish.written)}"
    yield "PrivateTmp=yes"
    yield "PrivateDevices=yes"
    yield "DevicePolicy=closed"
    yield "ProtectClock=yes"
    yield "ProtectControlGroups=yes"
    yield "ProtectHostname=yes"
    yield "ProtectKernelLogs=yes"
    yield "ProtectKernelModules=yes"
    yield "ProtectKernelTunables=yes"
    yield "ProtectProc=invisible"
    yield "KeyringMode=private"
    yield "RemoveIPC=yes"


def _below_homes(wish: Wish) -> bool:
    """Whether something of it lies where homes of people are, which would else be closed."""
    paths = (wish.program.resolve(), wish.program, *wish.written)
    return any(path.is_relative_to(home) for path in paths for home in _HOMES)
