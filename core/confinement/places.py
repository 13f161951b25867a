"""Which places of the file system a confined process can reach, as rules for Landlock."""

from __future__ import annotations

import functools
import os
import site
import ssl
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import core
from core.confinement import landlock
from core.confinement.landlock import Rule

PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# What name resolution reads. A file among them that is replaced has to be opened anew: see `Sandbox.outdated`.
RESOLVER = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf")
# Whatever the user may read in /etc is not for jobs: these are, and they hold nothing that is secret.
SYSTEM = (
    *("/etc/services", "/etc/protocols", "/etc/networks", "/run/systemd/resolve", "/run/resolvconf"),
    *("/run/NetworkManager/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/ca-certificates"),
    *("/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust"),
    *("/etc/crypto-policies", "/var/lib/ca-certificates"),
    *("/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/etc/locale.conf", "/etc/default/locale"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/ld-musl-x86_64.path"),
    *("/etc/passwd", "/etc/group", "/etc/os-release", "/etc/debian_version", "/etc/lsb-release"),
    # For commands of the input exec:
    *("/etc/alternatives", "/etc/profile", "/etc/profile.d", "/etc/bash.bashrc", "/etc/inputrc", "/etc/terminfo"),
    *("/etc/mime.types", "/etc/magic", "/etc/magic.mime", "/etc/fonts", "/etc/gitconfig", "/etc/perl", "/etc/python3"),
    *("/etc/python3.11", "/etc/python3.12", "/etc/python3.13", "/etc/java", "/etc/odbcinst.ini", "/etc/vim"),
    *("/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d", "/etc/ssh/ssh_known_hosts", "/etc/wgetrc", "/etc/ImageMagick-6"),
    *("/etc/ImageMagick-7", "/etc/login.defs", "/etc/shells", "/etc/papersize"),
    # Of other processes, Landlock leaves what everybody may see: command line and state, not environment or memory.
    *("/proc", "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup", "/sys/kernel/mm"),
)


@dataclass(frozen=True, slots=True)
class Places:
    """Directories and files besides the system: to read, and to write. `programs`: what lies there may be started."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    everywhere: bool = False  # to write, whatever is not closed
    closed: tuple[str, ...] = ()  # but where `read` and `write` name it
    secret: tuple[str, ...] = ()  # closed also where it lies among programs and packages
    programs: bool = False


def rules(given: Places) -> Iterator[Rule]:
    """All rules of a process that may use these places."""
    secret = [os.path.realpath(path) for path in given.secret]
    start = landlock.EXECUTE if given.programs else 0
    for path in _programs():
        yield from (Rule(one, landlock.RUN) for one in outside(path, [one for one in secret if _below(one, path)]))
    for path in (*RESOLVER, *SYSTEM, *_certificates()):
        yield Rule(path, landlock.READ)
    for path in DEVICES:
        yield Rule(path, landlock.DEVICE)
    for path in given.read:
        yield Rule(path, landlock.READ | start)
    for path in given.write:
        yield Rule(path, landlock.WRITE | start)
    if given.everywhere:
        closed = [*secret, *(os.path.realpath(path) for path in given.closed)]
        yield from (Rule(one, landlock.WRITE | start) for one in outside("/", closed))


def outside(root: str, closed: Iterable[str]) -> Iterator[str]:
    """The largest places below a real path that hold none of the closed ones, as they are now.

    Landlock knows no exceptions, so a directory that holds a closed place is taken apart into its entries: what is
    made in it later is not among them. Links among the entries are left out: what they lead to has a place of its own.
    """
    inner = [one for one in closed if one != root and _below(one, root)]
    if any(_below(root, one) for one in closed):
        return
    if not inner:
        yield root
        return
    try:
        with os.scandir(root) as entries:
            found = sorted(entry.path for entry in entries if not entry.is_symlink())
    except OSError:  # it cannot be listed, so it cannot be used either
        return
    for path in found:
        yield from outside(path, inner)


def _below(path: str, root: str) -> bool:
    return path == root or root == "/" or path.startswith(root + "/")


@functools.cache
def _programs() -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.realpath(path) for path in (*PROGRAMS, *_interpreter(), *_libraries())))


def _interpreter() -> Iterator[str]:
    """Where this program and its packages are, which is often below the home of the user."""
    own = Path(str(core.__file__)).parent
    yield from dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, str(own)))
    user = site.getusersitepackages() if site.ENABLE_USER_SITE else ""
    for path in (*site.getsitepackages(), user, *sys.path):
        if path and os.path.isabs(path) and os.path.realpath(path) != str(own.parent):  # noqa: PTH117
            yield path


def _libraries() -> Iterator[str]:
    """The directories of the shared libraries that are loaded, wherever a build of the interpreter has put them."""
    found = set()
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:  # noqa: PTH123 - once, at start
        for line in maps:
            name = line[73:].rstrip("\n")
            if name.startswith("/") and ".so" in name:
                found.add(os.path.dirname(name))  # noqa: PTH120
    return (path for path in sorted(found) if not path.startswith(PROGRAMS))


def _certificates() -> Iterator[str]:
    """Where this machine, or the operator by SSL_CERT_FILE, keeps the authorities that are trusted."""
    known = ssl.get_default_verify_paths()
    for path in (known.cafile, known.capath, known.openssl_cafile, known.openssl_capath):
        if path:
            yield path
