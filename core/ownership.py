"""The home directory: who owns it, its lock, its socket, and the places where it must not be.

One process holds an exclusive flock on `engine.lock` and is the engine; the kernel drops the lock when that process
dies, however it dies. Everyone else connects to `engine.sock`. The directory is 0700 and the socket 0600, so
whoever can connect is the same user.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
from pathlib import Path

from core import backoff, channel, clock, errors, filesystems

ATTACH_DEADLINE_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 0.005  # between tries to reach the owner; it doubles
LONGEST_PAUSE_SECONDS = 0.1
ALIVE_SECONDS = 1.0  # between two signs of life


def prepare(home: Path) -> Path:
    """Make the home directory (0700) or check the one that is there; return its real path.

    Raises StorageUnavailable when it is on a network file system, belongs to another user, or others can write it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = home.resolve(strict=True)
        info = home.stat()
        magic = filesystems.kind(home)
    except OSError as error:
        raise errors.StorageUnavailable(
            f"The home directory {home} cannot be used: {error.strerror}.",
            hint="Point --home (SLUICE_HOME) at a directory that you own on a local disk.",
        ) from error
    if not stat.S_ISDIR(info.st_mode):
        raise errors.StorageUnavailable(f"{home} is not a directory.", hint="Point --home (SLUICE_HOME) elsewhere.")
    if info.st_uid != os.geteuid():
        raise errors.StorageUnavailable(
            f"The home directory {home} belongs to user id {info.st_uid}, and this process runs as {os.geteuid()}.",
            hint="Run as its owner, or point --home (SLUICE_HOME) at a directory of your own.",
        )
    if info.st_mode & 0o022:
        raise errors.StorageUnavailable(
            f"Others can write the home directory {home} (mode {stat.S_IMODE(info.st_mode):04o}).",
            hint=f"chmod 700 {home}",
        )
    if magic in filesystems.NETWORK:
        raise errors.StorageUnavailable(
            f"The home directory {home} is on a network file system ({filesystems.NETWORK[magic]}), "
            "where committed data can be lost.",
            hint="Point --home (SLUICE_HOME) at a local disk.",
        )
    return home


class Ownership:
    """The exclusive lock on a home directory, and the socket that it entitles to."""

    def __init__(self, home: Path, lock_fd: int, home_id: str = "", alive_ns: int = 0) -> None:
        """`home_id`: what an earlier owner has called the home in its lock; empty when there was none. `alive_ns`: when
        the last engine was alive for the last time, in ns since the epoch; 0: there was none."""
        self.home = home
        self.home_id = home_id
        self.alive_ns = alive_ns
        self._lock_fd = lock_fd
        self._socket: socket.socket | None = None

    @property
    def lock(self) -> Path:
        """The file whose lock this is; in its place as long as nobody else can be the owner."""
        return self.home / "engine.lock"

    def name(self, home_id: str) -> None:
        """Write the id of the home into its lock, for who finds a copy of it."""
        self.home_id = home_id
        _write(self._lock_fd, home_id)

    async def keep_alive(self) -> None:
        """Leave a sign of life for who comes after a sudden end, and wait: the time of the lock file."""
        os.utime(self._lock_fd)
        await asyncio.sleep(ALIVE_SECONDS)

    def listen(self) -> socket.socket:
        """Bind the 0600 unix socket; a stale one of a dead owner is replaced, which only the lock holder may do."""
        path = self.home / "engine.sock"
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        old_umask = os.umask(0o177)
        try:
            _with_short_path(path, sock.bind)
        finally:
            os.umask(old_umask)
        sock.listen(256)
        sock.setblocking(False)
        self._socket = sock
        return sock

    def release(self) -> None:
        """Give the home up: close the socket, then drop the lock. Safe to call twice."""
        if self._socket is not None:
            (self.home / "engine.sock").unlink(missing_ok=True)
            self._socket.close()
            self._socket = None
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def acquire(home: Path) -> Ownership | None:
    """Take the lock of a prepared home directory; None when another process holds it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(home / "engine.lock", flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    id = home_id(home)
    alive_ns = min(os.fstat(fd).st_mtime_ns, clock.now_ns()) if id else 0  # the clock may have been set back
    _write(fd, id)
    return Ownership(home, fd, id, alive_ns)


def _write(fd: int, home_id: str) -> None:
    """The lock's two lines: the process that holds it, and the id of the home, which stays. So does the time of the
    file: a command that holds the lock for a moment is no engine that is alive."""
    text = f"{os.getpid()}\n{home_id}\n".encode()
    before = os.fstat(fd)
    os.pwrite(fd, text, 0)
    os.ftruncate(fd, len(text))
    os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))


def owner_pid(home: Path) -> int | None:
    """The process id that the lock file names; only a hint for people."""
    try:
        return int(_lines(home)[0])
    except (OSError, ValueError):
        return None


def home_id(home: Path) -> str:
    """The id of a home, as its lock file tells it; empty when no engine has been there."""
    try:
        return _lines(home)[1]
    except (OSError, ValueError, IndexError):
        return ""


def _lines(home: Path) -> list[str]:
    return (home / "engine.lock").read_text(encoding="ascii").split("\n")


async def connect(home: Path, **handlers: object) -> channel.Channel | None:
    """A channel to the engine that owns `home`; None when nobody listens (yet, or any more).

    Raises StorageUnavailable when this process may not look into the home, or it is no directory.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _with_short_path(home / "engine.sock", sock.connect)
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        sock.close()
        return None
    except OSError as error:
        sock.close()
        raise errors.StorageUnavailable(
            f"{error.strerror}: the home directory {home} cannot be used.",
            hint="Run as the account that owns it, or point --home (SLUICE_HOME) at a directory of your own.",
        ) from None
    return await channel.over_socket(sock, **handlers)


def held(home: Path) -> bool:
    """Whether a process holds the lock of the home; looks without taking it for longer than a moment."""
    try:
        handle = os.open(home / "engine.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


async def running(home: Path, **handlers: object) -> channel.Channel | None:
    """A channel to the engine that runs, also to one that is just starting; None when nobody holds the lock.

    Raises Busy when whoever holds it does not answer.
    """
    deadline, tries = clock.monotonic() + ATTACH_DEADLINE_SECONDS, 0
    while True:
        attached = await connect(home, **handlers)
        if attached is not None or not held(home):
            return attached
        tries += 1
        await _wait(home, tries, deadline)


async def own_or_connect(home: Path, **handlers: object) -> Ownership | channel.Channel:
    """Become the owner, or attach to the one that there is.

    Between the lock and the socket of a starting (or dying) owner there is a short gap: both are tried in turn
    until one succeeds. Raises Busy after the deadline.
    """
    home = prepare(home)
    deadline, tries = clock.monotonic() + ATTACH_DEADLINE_SECONDS, 0
    while True:
        attached = await connect(home, **handlers)
        if attached is not None:
            return attached
        owned = acquire(home)
        if owned is not None:
            return owned
        tries += 1
        await _wait(home, tries, deadline)


async def _wait(home: Path, tries: int, deadline: float) -> None:
    """The pause after so many tries to reach the owner. Raises Busy after the deadline."""
    if clock.monotonic() > deadline:
        raise _unanswered(home)
    await asyncio.sleep(backoff.pause(tries, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))


def _unanswered(home: Path) -> errors.Busy:
    return errors.Busy(
        f"Process {owner_pid(home)} holds the home directory {home} but does not answer.",
        hint="Look at that process; if it hangs, stop it, and start another one: sluice serve",
    )


def _with_short_path(path: Path, use: object) -> None:
    """Call `use` with a socket path that fits sun_path (108 bytes), through /proc when the home is nested deep."""
    text = str(path)
    assert callable(use)
    if len(os.fsencode(text)) < 100:
        use(text)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{fd}/{path.name}")
    finally:
        os.close(fd)
