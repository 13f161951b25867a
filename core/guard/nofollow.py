"""openat2(2): the kernel opens a path and refuses a symbolic link in any component of it; or the same by hand."""

from __future__ import annotations

import ctypes
import os

_SYS_OPENAT2 = 437  # one number on every architecture of Linux
_AT_FDCWD = -100
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_BASE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # non-blocking: opening a FIFO must not hang


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def _openat2(directory: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = _OpenHow(flags, mode, resolve)
    fd: int = _libc.syscall(
        _SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return fd


def _walk_open(directory: int, path: str, flags: int, mode: int) -> int:
    """The same promise without openat2: every component is opened by itself, without following a link."""
    at = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        *way, last = [part for part in path.split("/") if part] or ["."]
        for part in way:
            step = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = step
        return os.open(last, flags, mode, dir_fd=at)
    finally:
        os.close(at)


def _has_openat2() -> bool:
    try:
        os.close(_openat2(_AT_FDCWD, "/", os.O_PATH | os.O_CLOEXEC, 0, _NO_SYMLINKS))
    except OSError:
        return False
    return True


KERNEL_CHECKS = _has_openat2()


def open_at(directory: int | None, path: str, flags: int, mode: int = 0) -> int:
    """Open `path`, below the directory when one is given; no component of it may be a symbolic link.

    Raises OSError: ELOOP for a link, EXDEV for what leaves the directory.
    """
    flags |= _BASE_FLAGS
    if not KERNEL_CHECKS:
        return _walk_open(_AT_FDCWD if directory is None else directory, path, flags, mode)
    if directory is None:
        return _openat2(_AT_FDCWD, path, flags, mode, _NO_SYMLINKS | _NO_MAGICLINKS)
    return _openat2(directory, path, flags, mode, _NO_SYMLINKS | _NO_MAGICLINKS | _BENEATH)
