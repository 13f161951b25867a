"""What hostile code in a worker or in one of its commands would try; prints what became of each try as JSON.

    probe.py PARENT PLACES OUTSIDE     tries from where it is started

PLACES is a home and all that is in it, as JSON: from within a sandbox it cannot be listed. Every try is harmless where
it succeeds: outside of PLACES and OUTSIDE, which belong to the test, nothing is changed. System calls are made with
arguments that cannot be meant, so that they fail in another way where they are not refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import site
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
NO_REQUEST, PR_GET_NO_NEW_PRIVS = 9999, 39
OPENAT2, FCHMODAT2, AT_EMPTY_PATH = 437, 452, 0x1000
NOWHERE = b"/no/such/place"


def read(path: Path) -> None:
    with path.open("rb") as stream:
        stream.read(1)


def write(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY))


def create(directory: Path) -> None:
    made = directory / "made-by-the-probe"
    os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    made.unlink()


def rename(path: Path) -> None:
    away = path.with_name(f"{path.name}-away")
    path.rename(away)
    away.rename(path)


def called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def connect(address: str | bytes, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.connect(address)


def pair_to(address: str) -> None:
    """A socket of a pair of datagrams can be sent to a name without `socket`."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"", address)


def through_a_handle(path: Path, change: Callable[[int], object]) -> None:
    """Landlock gives a handle (O_PATH) of whatever has a name."""
    handle = os.open(path, os.O_PATH)
    try:
        change(handle)
    finally:
        os.close(handle)


def changes(path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Ways to change mode, owner and times of a file, to what they are."""
    info = path.stat()
    mode, times = stat.S_IMODE(info.st_mode), (info.st_atime_ns, info.st_mtime_ns)
    yield "chmod", lambda: path.chmod(mode)
    yield "chown", lambda: os.chown(path, info.st_uid, info.st_gid)
    yield "chown of a link", lambda: os.chown(path, info.st_uid, info.st_gid, follow_symlinks=False)
    yield "times", lambda: os.utime(path, ns=times)
    yield "attributes", lambda: os.setxattr(path, "user.probe", b"")
    for name, change in {
        "chmod": lambda fd: os.fchmod(fd, mode),
        "chmod by /proc": lambda fd: Path(f"/proc/self/fd/{fd}").chmod(mode),
        "chmod without a name": lambda fd: called(LIBC.syscall(FCHMODAT2, fd, b"", mode, AT_EMPTY_PATH)),
        "chown": lambda fd: os.fchown(fd, info.st_uid, info.st_gid),
        "chown without a name": lambda fd: called(LIBC.fchownat(fd, b"", info.st_uid, info.st_gid, AT_EMPTY_PATH)),
        "times": lambda fd: os.utime(fd, ns=times),
        "times without a name": lambda fd: called(LIBC.utimensat(fd, b"", None, AT_EMPTY_PATH)),
        "attributes": lambda fd: os.setxattr(fd, "user.probe", b""),
    }.items():
        yield f"{name} through a handle", lambda change=change: through_a_handle(path, change)


def setuid_by_openat2() -> None:
    """A filter cannot read the mode that this call is given."""
    how = struct.pack("<QQQ", os.O_WRONLY | os.O_CREAT, 0o4700, 0)
    called(LIBC.syscall(OPENAT2, -100, b"raised-by-the-probe", how, len(how)))
    Path("raised-by-the-probe").unlink()


def raise_rights(mode: int, *, at_once: bool) -> None:
    """Make a program that runs as its owner, or that everybody can write, in the own directory."""
    made = Path("raised-by-the-probe")
    before = os.umask(0)
    fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode if at_once else 0o600)
    try:
        os.fchmod(fd, 0o640)
        os.utime(fd)
        os.fchown(fd, -1, -1)  # what is open can be changed
        if not at_once:
            os.fchmod(fd, mode)
    finally:
        os.umask(before)
        os.close(fd)
        made.unlink()


def tries(parent: int, places: list[Path], outside: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """(name, what raises OSError when it is denied)."""
    home = places[0]
    for place in places:
        shown = place.relative_to(home)
        for name, attempt in changes(place):
            yield f"{name} {shown}", attempt
        if place.is_dir():
            yield f"list {shown}", lambda place=place: list(place.iterdir())
            yield f"create in {shown}", lambda place=place: create(place)
        elif place.is_file():
            yield f"read {shown}", lambda place=place: read(place)
            yield f"write {shown}", lambda place=place: write(place)
            yield f"truncate {shown}", lambda place=place: os.truncate(place, 0)
            yield f"link {shown}", lambda place=place: os.link(place, f"linked-{place.name}")
        yield f"rename {shown}", lambda place=place: rename(place)
        if place.is_file():
            yield f"unlink {shown}", lambda place=place: place.unlink()
    for path in (f"{home}/engine.sock", "\0sluice-probe"):
        yield f"connect {path[-11:]}", lambda path=path: connect(path)
        yield f"send to {path[-11:]}", lambda path=path: pair_to(path)
    yield "read outside", lambda: read(outside / "file")
    yield "create outside", lambda: create(outside)
    for name, attempt in changes(outside / "file"):
        yield f"{name} outside", attempt
    for name, mode in {"setuid": 0o4700, "setgid": 0o2700}.items():
        yield f"make {name}", lambda mode=mode: raise_rights(mode, at_once=True)
        yield f"give {name}", lambda mode=mode: raise_rights(mode, at_once=False)
    yield "make setuid by openat2", setuid_by_openat2
    yield "give writing", lambda: raise_rights(0o666, at_once=False)
    for name in ("shadow", "gshadow", "sudoers", "ssh/ssh_host_ed25519_key"):
        if Path("/etc", name).exists():
            yield f"read /etc/{name}", lambda name=name: read(Path("/etc", name))
    yield "write in site-packages", lambda: create(Path(site.getsitepackages()[0]))
    yield "write beside core", lambda: create(Path(sys.argv[0] if sys.argv[0] != "-c" else sys.prefix).parent)
    for name in ("environ", "mem", "maps", "auxv"):
        yield f"{name} of the parent", lambda name=name: read(Path(f"/proc/{parent}/{name}"))
    yield "a file of the parent", lambda: Path(f"/proc/{parent}/fd/0").readlink()
    yield "root of the parent", lambda: list(Path(f"/proc/{parent}/root").iterdir())
    yield "signal the parent", lambda: os.kill(parent, 0)
    yield "trace the parent", lambda: called(LIBC.ptrace(NO_REQUEST, parent, 0, 0))
    yield "memory of the parent", lambda: called(LIBC.process_vm_readv(parent, None, 0, None, 0, 0))
    yield "mount", lambda: called(LIBC.mount(b"none", NOWHERE, b"no-such-type", 0, None))
    yield "a namespace", lambda: called(LIBC.unshare(0))
    yield "another root", lambda: called(LIBC.chroot(NOWHERE))
    yield "io_uring", lambda: called(LIBC.syscall(425, 1, ctypes.create_string_buffer(256)))
    yield "keys of the kernel", lambda: called(LIBC.syscall({"x86_64": 250}.get(os.uname().machine, 219), 0, 0, 0))
    yield "a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()
    yield "packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def main(parent: str, places: str, outside: str) -> None:
    found = {}
    with contextlib.suppress(ProcessLookupError):
        os.kill(os.getpid(), signal.SIGCONT)  # to itself it may
    for name, attempt in tries(int(parent), [Path(one) for one in json.loads(places)], Path(outside)):
        try:
            attempt()
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno or 0, str(error))
        else:
            found[name] = "OPEN"
    found["no_new_privs"] = "set" if LIBC.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 else "OPEN"
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[-3:])
