"""Run a command under the filter of system calls of a unit, as systemd would set it: filtered.py FILTER COMMAND...

FILTER is a file with the names of the calls that are allowed, one a line.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def shut_in(names: list[str]) -> None:
    """Let this process and its children make these calls alone."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ERRNO | errno.EPERM)))
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # below: there is none on this machine
            assert library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0) == 0, name
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    shut_in(Path(sys.argv[1]).read_text(encoding="ascii").split())
    os.execv(sys.argv[2], sys.argv[2:])
