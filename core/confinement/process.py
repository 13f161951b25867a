"""What a process takes from itself with plain calls: privileges, dumps of its memory, files beyond a number."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource

MOST_FILES = 4096
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CAPABILITY_VERSION = 0x20080522
# Of root: to use files of other users, to end own commands, to listen below port 1024. Everything else is given up.
_KEPT_CAPABILITIES = (0, 1, 2, 3, 4, 5, 10)  # CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL NET_BIND_SERVICE

_libc = ctypes.CDLL(None, use_errno=True)


def hide_memory() -> None:
    """Leave no image of this memory, which may hold keys, on a disk, and let no other process of this user read it.

    What this process starts can be looked at again: who must not be calls this for itself. Debuggers then need root.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if hasattr(_libc, "prctl"):  # Linux
        _prctl(_PR_SET_DUMPABLE, 0)


def limit() -> None:
    """Bound the open files, and let nobody else write what this process makes."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = MOST_FILES if most == resource.RLIM_INFINITY else min(MOST_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    os.umask(os.umask(0o022) | 0o022)


def give_up_privileges() -> None:
    """No program gives this process, or what it starts, more rights than it has (sudo, capabilities of files).

    Root keeps what is needed to use files of others. Raises OSError where the kernel does not know no_new_privs.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        kept = sum(1 << bit for bit in _KEPT_CAPABILITIES)
        with contextlib.suppress(OSError):  # root of a container that lacks some of them keeps fewer
            _keep_capabilities(kept)


def _keep_capabilities(kept: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the lower 32 and then the upper ones
    if _libc.capget(header, data) != 0:
        raise _fault()
    data[0] &= kept
    data[1] &= kept
    data[2] = data[3] = data[4] = data[5] = 0
    if _libc.capset(header, data) != 0:
        raise _fault()


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, *(ctypes.c_ulong(number) for number in (value, 0, 0, 0))) != 0:
        raise _fault()


def _fault() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
