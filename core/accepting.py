"""Connections are accepted within bounds, so that whoever connects cannot take the files that the engine needs.

A server of asyncio accepts whatever comes, a whole backlog in one turn of the loop, and logs each connection for which
the process has no file left. Here a `Room` says who may come in: so many in all, so many from one address. When it is
full, the one that has waited longest without saying what it wants makes room for the next, or else the slowest of those
whose requests arrive and whose answers leave; only when everybody is at work is the next one sent away. What was
refused is counted by its reason and logged once a burst.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
from typing import Any

import structlog

from core import clock

log = structlog.get_logger("core.accepting")

PATIENCE_SECONDS = 10.0  # for a connection to say what it wants: a TLS handshake, the head of a request, a first call
LEAST_BYTES_A_SECOND = 8192  # of a request, or an answer, on its way; who is PATIENCE_SECONDS behind is slow
SLOW_SECONDS = 0.5  # behind by so much, it makes room for another
QUIET_SECONDS = 60.0  # between two lines of the log about what was refused
AGAIN_SECONDS = 0.2  # after the process had no file left
AT_ONCE = 16  # connections that are accepted in one turn of the loop
MOST_FILES = 65536
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Reason(StrEnum):
    """Why a connection was refused or ended early."""

    ADDRESS = "address"  # too many from one address, all of them at work
    TOTAL = "total"  # too many in all, all of them at work
    FILES = "files"  # the process may open no more files
    SLOW = "slow"  # it did not say what it wanted in time, or did not read the answer
    UNREAD = "unread"  # more answers waited than there may be, and it left the most of them unread
    MADE_ROOM = "made_room"  # it waited while the room was full
    USER = "user"  # a process of another user, at a unix socket whose mode somebody has changed


class Guest:
    """One connection, from its acceptance to its end. Use from the loop; what comes after its end changes nothing."""

    __slots__ = ("_here", "_room", "address", "leave", "moved", "since", "where")

    def __init__(self, room: Room, address: str) -> None:
        self._room = room
        self._here = True
        self.address = address
        self.where: dict[str, dict[Guest, None]] | None = None  # among whom the room has it
        self.since = 0.0  # since when it waits or moves, in monotonic seconds
        self.moved: Callable[[], int] = _nothing  # how many bytes have come, or gone, since then
        self.leave: Callable[[Reason], None] = _stay
        """Ends the connection. Set by whoever holds it; called at most once, and must not raise."""

    def moves(self, moved: Callable[[], int]) -> None:
        """A part of what it wants has come, or of its answer has gone; `moved` tells how many bytes have, from now."""
        if self._here and (self.moved is not moved or self.where is not self._room.moving):
            self._room.moves(self, moved)

    def behind(self, now: float) -> float:
        """How many seconds it is behind LEAST_BYTES_A_SECOND."""
        return now - self.since - self.moved() / LEAST_BYTES_A_SECOND

    def ends(self, reason: Reason) -> None:
        """It has to leave, whatever it does."""
        if self._here:
            self._room.send_away(self, reason)

    def works(self) -> None:
        """It has said what it wants: it is not sent away before it waits again."""
        if self.where is not None:
            self._room.works(self)

    def waits(self) -> None:
        """It may say what it wants next."""
        if self._here:
            self._room.waits(self)

    def gone(self) -> None:
        """The connection has ended."""
        if self._here:
            self._here = False
            self._room.gone(self)


def _nothing() -> int:
    return 0


def _stay(reason: Reason) -> None:
    """Nobody holds the connection yet."""


def _nobody(address: str) -> bool:
    return False


class Room:
    """Who is connected through one door. Use from the loop.

    `most` and `most_per_address` bound the connections, but those of an address that `stands_for_many`, as a proxy,
    which may take all; `refused` counts by Reason.
    """

    def __init__(
        self,
        door: str,
        most: int,
        most_per_address: int,
        now: Callable[[], float] = clock.monotonic,
        stands_for_many: Callable[[str], bool] = _nobody,
    ) -> None:
        self.door = door
        self.most = most
        self.most_per_address = most_per_address
        self.refused: Counter[Reason] = Counter()
        self._now = now
        self._stands_for_many = stands_for_many
        self._guests: Counter[str] = Counter()  # by address
        self._waiting: dict[str, dict[Guest, None]] = {}  # by address; who has waited longest comes first
        self.moving: dict[str, dict[Guest, None]] = {}  # by address: those whose requests arrive, or answers leave
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._told_at = -QUIET_SECONDS
        self._untold = 0

    @property
    def open(self) -> int:
        """How many are connected."""
        return self._guests.total()

    def admit(self, address: str) -> Guest | None:
        """Let one in from this address, if need be in the place of another; None when all are at work."""
        crowded = self._guests[address] >= self.most_per_address and not self._stands_for_many(address)
        if crowded and not self._make_room(address):
            self.count(Reason.ADDRESS, address)
            return None
        if self.open >= self.most and not self._make_room():
            self.count(Reason.TOTAL, address)
            return None
        self._guests[address] += 1
        guest = Guest(self, address)
        guest.waits()
        return guest

    def out_of_files(self) -> None:
        """The process may open no more files: count it, and let one that waits give up its own."""
        self.count(Reason.FILES, "")
        self._make_room()

    def close(self) -> None:
        """Watch no longer over those that wait."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    # -- what guests tell ----------------------------------------------------------------------------------

    def waits(self, guest: Guest) -> None:
        self.works(guest)
        self._note(self._waiting, guest)

    def moves(self, guest: Guest, moved: Callable[[], int]) -> None:
        self.works(guest)
        guest.moved = moved
        self._note(self.moving, guest)

    def _note(self, where: dict[str, dict[Guest, None]], guest: Guest) -> None:
        guest.since = self._now()
        guest.where = where
        where.setdefault(guest.address, {})[guest] = None
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self.sweep)

    def works(self, guest: Guest) -> None:
        where, guest.where = guest.where, None
        if where is not None:
            of_its_address = where[guest.address]
            del of_its_address[guest]
            if not of_its_address:
                del where[guest.address]

    def gone(self, guest: Guest) -> None:
        self.works(guest)
        self._guests[guest.address] -= 1
        if not self._guests[guest.address]:
            del self._guests[guest.address]

    # -- who has to go -------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Send away those that have waited too long, and look again when the next one will have."""
        now = self._now()
        if self._timer is not None:
            self._timer.cancel()
        late = [one for some in self._waiting.values() for one in some if now - one.since >= PATIENCE_SECONDS]
        late += [one for some in self.moving.values() for one in some if one.behind(now) >= PATIENCE_SECONDS]
        for guest in late:
            self.send_away(guest, Reason.SLOW)
        self._timer = None
        if (self._waiting or self.moving) and not self._closed:
            longest = [now - next(iter(some)).since for some in self._waiting.values()]
            longest += [one.behind(now) for some in self.moving.values() for one in some]
            left = max(0.05, PATIENCE_SECONDS - max(longest))
            self._timer = asyncio.get_running_loop().call_later(left, self.sweep)

    def _make_room(self, address: str | None = None) -> bool:
        """Send away one of this address, or of the address that has the most connections: who has waited longest, if
        any waits, or else who moves most slowly."""
        greedy = self._greedy(self._waiting, address)
        goes = None if greedy is None else next(iter(self._waiting[greedy]))
        if goes is None:
            now = self._now()
            greedy = self._greedy(self.moving, address)
            slow = [] if greedy is None else [one for one in self.moving[greedy] if one.behind(now) >= SLOW_SECONDS]
            goes = max(slow, key=lambda one: one.behind(now), default=None)
        if goes is not None:
            self.send_away(goes, Reason.MADE_ROOM)
        return goes is not None

    def _greedy(self, where: dict[str, dict[Guest, None]], address: str | None) -> str | None:
        """Of the addresses there, or of that one alone, the one that has the most connections."""
        addresses: Iterable[str] = where if address is None else where.keys() & {address}
        return max(addresses, key=self._guests.__getitem__, default=None)

    def send_away(self, guest: Guest, reason: Reason) -> None:
        self.count(reason, guest.address)
        guest.gone()
        guest.leave(reason)

    def count(self, reason: Reason, address: str) -> None:
        """Keep in mind that somebody was refused, and tell it once a burst."""
        self.refused[reason] += 1
        self._untold += 1
        now = self._now()
        if now - self._told_at < QUIET_SECONDS:
            return
        log.warning(
            "connections_refused",
            door=self.door,
            reason=reason.value,
            address=address,
            count=self._untold,
            open=self.open,
            most=self.most,
            most_per_address=self.most_per_address,
        )
        self._told_at, self._untold = now, 0


class Acceptor:
    """Accepts the connections of one listening socket for a room.

    `protocol` makes the protocol of a guest; it sets the guest's `leave` once it has a transport, and tells the guest
    what it does. With `tls` the connection speaks TLS. `refusal` is written, if it can be at once, to who is not let
    in. The listening socket is non-blocking and stays its caller's to close.
    """

    def __init__(
        self,
        listener: socket.socket,
        room: Room,
        protocol: Callable[[Guest], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None = None,
        refusal: bytes = b"",
    ) -> None:
        self._listener = listener
        self._room = room
        self._protocol = protocol
        self._tls = tls
        self._refusal = b"" if tls is not None else refusal
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop.add_reader(listener.fileno(), self._ready)

    def close(self) -> None:
        """Accept nothing more; what is connected stays. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._listener.fileno())
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nobody is on the way in."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ready(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, peer = self._listener.accept()
            except OSError as error:  # nobody waits any more, or who waited has gone
                if error.errno in OUT_OF_FILES:
                    self._pause()
                return
            address = address_of(connection, peer)
            if connection.family == socket.AF_UNIX and user_of(connection) not in (0, os.geteuid(), None):
                self._room.count(Reason.USER, address)
                connection.close()
                continue
            guest = self._room.admit(address)
            if guest is None:
                _turn_away(connection, self._refusal)
                continue
            entering = self._loop.connect_accepted_socket(
                partial(self._protocol, guest),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=PATIENCE_SECONDS if self._tls is not None else None,
            )
            task = self._loop.create_task(entering)
            guest.leave = partial(_cancel, task)
            self._tasks.add(task)
            task.add_done_callback(partial(self._entered, connection, guest))

    def _entered(self, connection: socket.socket, guest: Guest, task: asyncio.Task[Any]) -> None:
        """The protocol has its transport; or nothing came of the connection, as when it speaks no TLS."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            guest.gone()
            connection.close()
        if error is not None and not isinstance(error, OSError):
            log.error("connection_not_served", door=self._room.door, exc_info=error)

    def _pause(self) -> None:
        """The kernel goes on to say that somebody waits: do not listen to it for a moment."""
        self._room.out_of_files()
        self._loop.remove_reader(self._listener.fileno())
        self._again = self._loop.call_later(AGAIN_SECONDS, self._loop.add_reader, self._listener.fileno(), self._ready)


def _cancel(task: asyncio.Task[Any], reason: Reason) -> None:
    task.cancel()


def _turn_away(connection: socket.socket, refusal: bytes) -> None:
    connection.setblocking(False)
    try:
        connection.send(refusal)
    except OSError:
        pass  # it has gone already, or does not read
    finally:
        connection.close()


def user_of(connection: socket.socket) -> int | None:
    """The user id of the process at the other end of a unix socket when it connected; None where nothing tells it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def address_of(connection: socket.socket, peer: object) -> str:
    """Whose connection it is: an IPv4 address, an IPv6 network of 64 bits, or a process of this machine."""
    if connection.family == socket.AF_UNIX and not hasattr(socket, "SO_PEERCRED"):
        return "this machine"
    if connection.family == socket.AF_UNIX:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return f"process {struct.unpack('3i', credentials)[0]}"
    host = str(peer[0]) if isinstance(peer, tuple) else str(peer)
    return share_of(host)


def share_of(host: str) -> str:
    """Who has a share of his own: an IPv4 address, or an IPv6 network of 64 bits."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"


def raise_limit_of_files() -> int:
    """Let this process open as many files as it may, and return how many that are, at most MOST_FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)
