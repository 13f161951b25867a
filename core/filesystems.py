"""The kinds of file systems that matter to us, told apart by the magic number of statfs(2) (Linux; elsewhere: 0).

The numbers are those of linux/magic.h. A device number says less: a path on which nothing is mounted has that of the
disk around it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

# Neither SQLite's WAL (shared memory) nor flock can be trusted on these.
NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9p",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
}
# What looks like a file there is a face of the kernel: reading or writing it is an act.
KERNEL = {
    0x9FA0: "proc",
    0x62656572: "sysfs",
    0x1CD1: "devpts",
    0x27E0EB: "cgroup",
    0x63677270: "cgroup2",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x73636673: "securityfs",
    0x62656570: "configfs",
    0xDE5E81E4: "efivarfs",
    0xCAFE4A11: "bpf",
    0x42494E4D: "binfmt_misc",
    0x6165676C: "pstore",
    0x19800202: "mqueue",
    0xF97CFF8C: "selinuxfs",
    0x43415D53: "smackfs",
    0x6E736673: "nsfs",
    0x67596969: "rpc_pipefs",
}


class _Statfs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


_libc = ctypes.CDLL(None, use_errno=True)


def kind(place: Path | int) -> int:
    """The magic number of the file system that holds a path, or the file behind a descriptor; 0 beside Linux.

    Raises OSError.
    """
    if sys.platform != "linux":
        return 0
    buffer = _Statfs()
    if isinstance(place, int):
        failed = _libc.fstatfs(place, ctypes.byref(buffer))
    else:
        failed = _libc.statfs(os.fsencode(place), ctypes.byref(buffer))
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(place))
    return int(buffer.f_type) & 0xFFFFFFFF
