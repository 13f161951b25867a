"""seccomp(2): system calls that a worker and its commands cannot make.

What is filtered, and why:

* `socket` opens internet addresses alone (and the routing table, which name resolution asks for): a unix socket is the
  way to `engine.sock`, and to the daemons of the machine. `socketpair` stays, but for datagrams, which could be sent to
  a name.
* what looks into other processes, changes the kernel or the clock, mounts, or makes namespaces;
* io_uring, which does all of it past a filter; clone3, whose flags a filter cannot read (the C library takes clone);
* ioctls that type into a terminal;
* what changes mode, owner or times of a file by its name, which Landlock has no right for: the modes of the engine's
  keys are all that keeps other users from them. What takes an open file stays (fchmod, fchown, futimens): Landlock
  decides what can be opened, and a handle that it did not look at (O_PATH) is none to these calls. An empty name with
  AT_EMPTY_PATH is a name here;
* modes that give a file the rights of its owner or group (setuid, setgid), or let everybody write it;
* extended attributes, among them lists of who else may use a file: told as a file system that has none;
* calls that are younger than this list.

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
    "chmod": (90, None),
    "chown": (92, None),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "futimesat": (261, None),
    "init_module": (175, 105),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lchown": (94, None),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
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
    "utime": (132, None),
    "utimes": (235, None),
    "vhangup": (153, 58),
}
ABSENT = {  # told as if this kernel did not have them: programs then do without
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
WITHOUT_ATTRIBUTES = {
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
}
LOOKED_AT: dict[str, tuple[int | None, int | None]] = {
    "clone": (56, 220),
    "creat": (85, None),
    "fchmod": (91, 52),
    "ioctl": (16, 29),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "open": (2, None),
    "openat": (257, 56),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "utimensat": (280, 88),
}
# What is left to a process that computes (core.confinement.computing); every other call is refused.
COMPUTING: dict[str, tuple[int | None, int | None]] = {
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "read": (0, 63),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "setitimer": (38, 103),
    "sigaltstack": (131, 132),
    "write": (1, 64),
}
MAPPING = {"mmap": (9, 222), "mprotect": (10, 226)}  # allowed to it for memory that cannot be run
OF_COMMANDS = {"openat2": (437, 437)}  # absent for commands: a filter cannot read its mode
YOUNGEST = 469  # what comes after it is told as absent: nobody has looked yet at what it can do
TRUNCATE = {"truncate": (76, 45)}

_FAMILIES = (2, 10)  # AF_INET, AF_INET6
_NETLINK, _ROUTE = 16, 0
_STREAM, _SEQPACKET = 1, 5
_NAMESPACES = 0x7E020000  # CLONE_NEW*
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_MAKING = 0x400040  # O_CREAT, __O_TMPFILE: without them, open does not look at its mode
_RAISING, _WRITABLE = 0o6000, 0o002  # S_ISUID and S_ISGID; S_IWOTH
_EXECUTABLE = 4  # PROT_EXEC

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
    _filter(program(_machine(), deny_truncate=deny_truncate), _ALL_THREADS)


def install_for_commands() -> None:
    """Take from this thread, and what it starts, what commands can do without and a worker cannot.

    A call is as free as the strictest filter leaves it. Raises OSError like `install`.
    """
    _filter(program_of_commands(_machine()), 0)


def install_for_computing() -> None:
    """Leave this process with memory, the clock and what is open. It needs no_new_privs. Raises OSError like `install`.

    What has to be loaded has to be there before.
    """
    _filter(program_of_computing(_machine()), _ALL_THREADS)


def _machine() -> str:
    machine = os.uname().machine
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no filter for {machine}")
    return machine


def _filter(lines: list[Instruction], flags: int) -> None:
    column, _ = _MACHINES[_machine()]
    code = b"".join(struct.pack("=HBBI", *one) for one in lines)
    made = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = ctypes.c_uint32(flags | _KEEP_SPECULATION)
    answer = libc.syscall(_SECCOMP[column], ctypes.c_uint32(_FILTER_MODE), given, ctypes.byref(made))
    if answer != 0:  # below: a fault; above: the thread that already has a filter of its own
        number = ctypes.get_errno() if answer < 0 else errno.EBUSY
        raise OSError(number, os.strerror(number))


def program_of_commands(machine: str) -> list[Instruction]:
    """The filter that commands have besides. Pure."""
    lines: list[Instruction] = [(_LOAD, 0, 0, _NUMBER_AT)]
    for numbers in OF_COMMANDS.values():
        lines += [(_EQUAL, 0, 1, numbers[_MACHINES[machine][0]]), _refuse(errno.ENOSYS)]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def program_of_computing(machine: str) -> list[Instruction]:
    """The filter of a process that computes. Pure."""
    column, audit = _MACHINES[machine]
    yes, no = (_RETURN, 0, 0, _ALLOW), _refuse(errno.EPERM)
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for numbers in COMPUTING.values():
        if (at := numbers[column]) is not None:
            lines += [(_EQUAL, 0, 1, at), yes]
    for mapping in MAPPING.values():
        lines += [(_EQUAL, 0, 4, mapping[column]), _argument(2), (_ANY_BIT, 0, 1, _EXECUTABLE), no, yes]
    return [*lines, no]


def program(machine: str, *, deny_truncate: bool = False) -> list[Instruction]:
    """The filter of a machine. Pure."""
    column, audit = _MACHINES[machine]
    denied = {**DENIED, **(TRUNCATE if deny_truncate else {})}
    refused = dict.fromkeys(denied, errno.EPERM) | dict.fromkeys(ABSENT, errno.ENOSYS)
    refused |= dict.fromkeys(WITHOUT_ATTRIBUTES, errno.EOPNOTSUPP)
    number = {name: numbers[column] for name, numbers in (denied | ABSENT | WITHOUT_ATTRIBUTES | LOOKED_AT).items()}
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),  # the calls of another machine have other numbers
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if column == X86_64:
        lines += [(_AT_LEAST, 0, 1, _X32), _refuse(errno.ENOSYS)]
    lines += [(_AT_LEAST, 0, 1, YOUNGEST + 1), _refuse(errno.ENOSYS)]
    for name, block in _blocks():
        if (at := number[name]) is not None:
            lines += [(_EQUAL, 0, len(block), at), *block]
    for name, error in refused.items():
        if (at := number[name]) is not None:
            lines += [(_EQUAL, 0, 1, at), _refuse(error)]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _blocks() -> Iterator[tuple[str, list[Instruction]]]:
    """What is asked of the arguments of a call; each block ends in a return."""
    yes, no = (_RETURN, 0, 0, _ALLOW), _refuse(errno.EPERM)
    for name, flags, mode in (("openat", 2, 3), ("open", 1, 2)):
        making = [_argument(flags), (_ANY_BIT, 1, 0, _MAKING), yes]
        yield name, [*making, _argument(mode), (_ANY_BIT, 0, 1, _RAISING), no, yes]
    families: list[Instruction] = [_argument(0)]
    for family in _FAMILIES:
        families += [(_EQUAL, 0, 1, family), yes]
    families += [(_EQUAL, 0, 3, _NETLINK), _argument(2), (_EQUAL, 0, 1, _ROUTE), yes]
    yield "socket", [*families, _refuse(errno.EAFNOSUPPORT)]
    kinds = [(_EQUAL, 1, 0, _STREAM), (_EQUAL, 0, 1, _SEQPACKET), yes, no]
    yield "socketpair", [_argument(1), (_AND, 0, 0, 0xF), *kinds]
    yield "clone", [_argument(0), (_ANY_BIT, 0, 1, _NAMESPACES), no, yes]
    yield "ioctl", [_argument(1), (_EQUAL, 1, 0, _TYPING[0]), (_EQUAL, 0, 1, _TYPING[1]), no, yes]
    for name, place in (("creat", 1), ("mknod", 1), ("mknodat", 2)):  # the umask keeps writing from everybody
        yield name, [_argument(place), (_ANY_BIT, 0, 1, _RAISING), no, yes]
    yield "fchmod", [_argument(1), (_ANY_BIT, 0, 1, _RAISING | _WRITABLE), no, yes]
    nameless = [_argument(1), (_EQUAL, 0, 5, 0), _argument(1, upper=True), (_EQUAL, 0, 3, 0)]
    yield "utimensat", [*nameless, _argument(3), (_EQUAL, 0, 1, 0), yes, no]


def _argument(place: int, *, upper: bool = False) -> Instruction:
    """Load the lower half of an argument, which is all that the kernel reads of most; or the upper one."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * place + 4 * upper)


def _refuse(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)
