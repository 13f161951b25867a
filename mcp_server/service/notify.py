"""What a service tells the service manager: one datagram for each word, after sd_notify(3).

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Protocol

import structlog

from core import errors

log = structlog.get_logger("mcp_server.service")

SOCKET, WATCHDOG_USEC, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
STATUS_LENGTH = 200


class Manager(Protocol):
    """Whoever watches over this process."""

    watchdog_seconds: float | None
    """How long it waits for a sign of life; None: for ever."""

    def tell(self, **fields: str) -> None:
        """Tell it these."""


class Nobody:
    """This process was started by no service manager, or by one that wants to hear nothing."""

    watchdog_seconds: float | None = None

    def tell(self, **fields: str) -> None:
        """There is nobody to tell."""


class Systemd:
    """The service manager at a datagram socket.

    What cannot be sent is logged, once until something can be sent again, and changes nothing here: if it was a sign of
    life, the manager does what it was told to do without one.
    """

    def __init__(self, address: str, watchdog_seconds: float | None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # an abstract socket
        self._unheard = False

    def tell(self, **fields: str) -> None:
        """Tell it these in one datagram; a value has one line."""
        lines = [f"{name}={errors.shorten(value, STATUS_LENGTH)}" for name, value in fields.items()]
        text = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.connect(self._address)
                sender.send(text.encode())
        except OSError as error:
            if not self._unheard:
                log.warning("service_manager_not_told", what=",".join(fields), error=str(error))
            self._unheard = True
        else:
            self._unheard = False


def manager(environment: MutableMapping[str, str]) -> Manager:
    """Who watches over this process, as its environment says; taken out of it, so that no child speaks in our name."""
    said = {name: environment.pop(name, "") for name in (SOCKET, WATCHDOG_USEC, WATCHDOG_PID)}
    if not said[SOCKET].startswith(("/", "@")):  # vsock, of virtual machines: nobody of this machine
        return Nobody()
    return Systemd(said[SOCKET], _watchdog_seconds(said))


def _watchdog_seconds(said: Mapping[str, str]) -> float | None:
    """None also when it waits for the signs of another process."""
    text = said[WATCHDOG_USEC]
    if not (text.isascii() and text.isdigit() and int(text)) or said[WATCHDOG_PID] not in ("", str(os.getpid())):
        return None
    return int(text) / 1_000_000
