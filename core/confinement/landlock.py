"""landlock(7): a thread, and what it starts, is left with some directories and nothing else of the file system.

Source: Documentation/userspace-api/landlock.rst of Linux. Rules are about inodes: what takes the name of an open file
later is not open, and what is made in an open directory is. Names, sizes and modes of files can still be seen (stat);
changing modes and owners by a name is no right of Landlock's either, and core.confinement.seccomp refuses it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # one number each on every architecture of Linux
_GET_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
RESOLVE_UNIX = 1 << 16
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX
_SINCE = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV), (9, RESOLVE_UNIX))  # ABI -> rights it knows
_SCOPED = 0b11  # abstract unix sockets and signals, both since ABI 6

READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE

TRUNCATE_ABI = 3  # from here on a file that is closed cannot be emptied either
SIGNALS_ABI = 6  # from here on no process outside can be sent a signal


class Rule(NamedTuple):
    """What may be done with a file, or below a directory."""

    path: str
    rights: int


class _Attributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("rights", ctypes.c_uint64), ("fd", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def abi() -> int:
    """Which version of Landlock this kernel has; 0 for none, or one that is switched off."""
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_GET_VERSION))
    return max(0, int(version))


def restrict(rules: Iterable[Rule]) -> None:
    """Leave this thread, and what it starts from now on, with these places alone, and with signals to its own.

    A path that is not there is left out. A second call takes away more and gives nothing back. Raises OSError, also
    for a kernel without Landlock; then nothing has changed but no_new_privs.
    """
    version = abi()
    known = 0
    for since, rights in _SINCE:
        known |= rights if version >= since else 0
    attributes = _Attributes(known, 0, _SCOPED if version >= SIGNALS_ABI else 0)
    rule_set = _checked(
        _libc.syscall(
            _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), ctypes.c_uint32(0)
        )
    )
    try:
        for rule in rules:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _add(rule_set, rule, known)
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(n) for n in (1, 0, 0, 0))))
        _checked(_libc.syscall(_RESTRICT_SELF, rule_set, ctypes.c_uint32(0)))
    finally:
        os.close(rule_set)


def _add(rule_set: int, rule: Rule, known: int) -> None:
    fd = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    try:
        fitting = known if stat.S_ISDIR(os.fstat(fd).st_mode) else known & _OF_FILES
        if rights := rule.rights & fitting:
            beneath = _Beneath(rights, fd)
            _checked(
                _libc.syscall(_ADD_RULE, rule_set, _PATH_BENEATH, ctypes.byref(beneath), ctypes.c_uint32(0)), rule.path
            )
    finally:
        os.close(fd)


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
