"""seccomp(2): system calls that a worker and its commands cannot make.

What is filtered, and why:

* `socket` opens internet addresses alone (and the routing table, which name resolution asks for): a unix socket is the
  way to `engine.sock`, and to the daemons of the machine. `socketpair` stays, but for datagrams, which could be sent to
  a name.
* what looks into other processes, changes the kernel or the clock, mounts, or makes namespaces;
* io_uring, which does all of it past a filter; clone3, whose flags a filter cannot read (the C library takes clone);
* ioctls that type into a terminal.

Numbers and the layout of a filter are those of the architecture; on others than the two here there is no filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

X86_64, AARCH64 = 0, 1
_MACHINES = {"x86_64": (X86_64, 0xC000003E), "aarch64": (AARCH64, 0xC00000B7)}  # AUDIT_ARCH_* of linux/audit.h
_SECCOMP = (317, 277)
_X32 = 0x40000000  # the bit of the calls of x32, a second table on x86_64

DENIED: dict[str, tuple[int | None, int | None]] = {  # name -> number on x86_64 and on aarch64; None: there is none
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
ABSENT = {  # told as if this kernel did not have them: programs then do without
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
LOOKED_AT = {"socket": (41, 198), "socketpair": (53, 199), "clone": (56, 220), "ioctl": (16, 29)}
TRUNCATE = {"truncate": (76, 45)}

_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_NETLINK, _ROUTE = 16, 0
_STREAM, _SEQPACKET = 1, 5
_NAMESPACES = 0x7E020000  # CLONE_NEW*
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06  # linux/bpf_common.h
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16  # of struct seccomp_data; little endian on both machines
_FILTER_MODE, _ALL_THREADS, _KEEP_SPECULATION = 1, 1, 4  # the last: no slower memory for a filter's sake

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def supported() -> bool:
    """Whether the numbers of this architecture are known, and the kernel has filters."""
    try:
        actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_bytes()
    except OSError:
        return False
    return os.uname().machine in _MACHINES and b"errno" in actions


def install(*, deny_truncate: bool = False) -> None:
    """Filter the calls of this process and of all that it starts. It needs no_new_privs.

    Raises OSError, with ENOSYS for an architecture whose numbers are not known.
    """
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no filter for {machine}")
    column, _ = _MACHINES[machine]
    code = b"".join(struct.pack("=HBBI", *one) for one in program(machine, deny_truncate=deny_truncate))
    made = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    flags = ctypes.c_uint32(_ALL_THREADS | _KEEP_SPECULATION)
    answer = libc.syscall(_SECCOMP[column], ctypes.c_uint32(_FILTER_MODE), flags, ctypes.byref(made))
    if answer != 0:  # below: a fault; above: the thread that already has a filter of its own
        number = ctypes.get_errno() if answer < 0 else errno.EBUSY
        raise OSError(number, os.strerror(number))


def program(machine: str, *, deny_truncate: bool = False) -> list[Instruction]:
    """The filter of a machine. Pure."""
    column, audit = _MACHINES[machine]
    denied = {**DENIED, **(TRUNCATE if deny_truncate else {})}
    number = {name: numbers[column] for name, numbers in (denied | ABSENT | LOOKED_AT).items()}
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),  # the calls of another machine have other numbers
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if column == X86_64:
        lines += [(_AT_LEAST, 0, 1, _X32), _refuse(errno.ENOSYS)]
    for name in (*denied, *ABSENT):
        at = number[name]
        if at is not None:
            lines += [(_EQUAL, 0, 1, at), _refuse(errno.ENOSYS if name in ABSENT else errno.EPERM)]
    for name, block in _blocks():
        at = number[name]
        assert at is not None
        lines += [(_EQUAL, 0, len(block), at), *block]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _blocks() -> Iterator[tuple[str, list[Instruction]]]:
    """What is asked of the arguments of a call; each block ends in a return."""
    yes, no = (_RETURN, 0, 0, _ALLOW), _refuse(errno.EPERM)
    families: list[Instruction] = [_argument(0)]
    for family in _FAMILIES:
        families += [(_EQUAL, 0, 1, family), yes]
    families += [(_EQUAL, 0, 3, _NETLINK), _argument(2), (_EQUAL, 0, 1, _ROUTE), yes]
    yield "socket", [*families, _refuse(errno.EAFNOSUPPORT)]
    kinds = [(_EQUAL, 1, 0, _STREAM), (_EQUAL, 0, 1, _SEQPACKET), yes, no]
    yield "socketpair", [_argument(1), (_AND, 0, 0, 0xF), *kinds]
    yield "clone", [_argument(0), (_ANY_BIT, 0, 1, _NAMESPACES), no, yes]
    yield "ioctl", [_argument(1), (_EQUAL, 1, 0, _TYPING[0]), (_EQUAL, 0, 1, _TYPING[1]), no, yes]


def _argument(place: int) -> Instruction:
    """Load the lower half of an argument; the kernel reads no more of these."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * place)


def _refuse(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)
