"""The filter of system calls, run by a small machine of its own, for both architectures."""

from __future__ import annotations

import errno
import re
import socket
import struct
from pathlib import Path

import pytest

from core.confinement import seccomp

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def answer(
    machine: str,
    number: int,
    *arguments: int,
    audit: int | None = None,
    deny_truncate: bool = False,
    lines: list[seccomp.Instruction] | None = None,
) -> int:
    """What the filter returns for a call: a machine for the few instructions of BPF that it uses."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, MACHINES[machine] if audit is None else audit, 0, *given)
    lines = seccomp.program(machine, deny_truncate=deny_truncate) if lines is None else lines
    at, value = 0, 0
    while True:
        code, yes, no, operand = lines[at]
        at += 1
        if code == 0x20:
            value = struct.unpack_from("<I", data, operand)[0]
        elif code == 0x54:
            value &= operand
        elif code == 0x06:
            return operand
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            at += yes if holds else no


def refusal(number: int) -> int:
    return 0x00050000 | number


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_that_is_named_is_refused_and_others_are_not(machine: str) -> None:
    column = list(MACHINES).index(machine)
    tables = (seccomp.DENIED, seccomp.ABSENT, seccomp.WITHOUT_ATTRIBUTES)
    closed = {numbers[column] for table in tables for numbers in table.values()}
    looked_at = {numbers[column] for numbers in seccomp.LOOKED_AT.values()}
    for number in range(600):
        found = answer(machine, number)
        if number in closed:
            assert found in (refusal(errno.EPERM), refusal(errno.ENOSYS), refusal(errno.EOPNOTSUPP)), number
        elif number > seccomp.YOUNGEST:
            assert found == refusal(errno.ENOSYS), number
        elif number not in looked_at:
            assert found == ALLOW, number
    assert len(closed - {None}) > 40


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_are_of_the_internet_alone(machine: str) -> None:
    column = list(MACHINES).index(machine)
    number = seccomp.LOOKED_AT["socket"][column]
    for family in range(64):
        expected = ALLOW if family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK) else refusal(97)
        assert answer(machine, number, family, socket.SOCK_STREAM) == expected, family
        high = family | 1 << 32  # the kernel takes an int: what is above it counts for nothing
        assert answer(machine, number, high, socket.SOCK_STREAM) == expected, family
    assert answer(machine, number, socket.AF_NETLINK, socket.SOCK_RAW, 9) == refusal(97)  # audit
    pair = seccomp.LOOKED_AT["socketpair"][column]
    assert answer(machine, pair, socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) == ALLOW
    for kind in (socket.SOCK_DGRAM, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.SOCK_RAW):
        assert answer(machine, pair, socket.AF_UNIX, kind) == refusal(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_and_processes_are_made_and_namespaces_are_not(machine: str) -> None:
    number = seccomp.LOOKED_AT["clone"][list(MACHINES).index(machine)]
    assert answer(machine, number, 0x003D0F00) == ALLOW  # a thread
    assert answer(machine, number, 0x01200011) == ALLOW  # a process
    for bit in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(machine, number, bit | 17) == refusal(errno.EPERM), hex(bit)


@pytest.mark.parametrize("machine", MACHINES)
def test_mode_owner_and_times_are_changed_through_an_open_file_alone(machine: str) -> None:
    column = list(MACHINES).index(machine)
    for name in ("chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "utime", "utimes", "futimesat"):
        if (number := seccomp.DENIED[name][column]) is not None:
            assert answer(machine, number, 3, 0o600) == refusal(errno.EPERM), name
    times = seccomp.LOOKED_AT["utimensat"][column]
    assert times is not None
    assert answer(machine, times, 3) == ALLOW
    for name in (1, 0x7FFF00000000, 1 << 32, 0x7FFF12345678):  # a pointer, also one whose lower half is zero
        assert answer(machine, times, 3, name) == refusal(errno.EPERM), hex(name)
    assert answer(machine, times, 3, 0, 0, 0x1000) == refusal(errno.EPERM)  # AT_EMPTY_PATH, should it come to mean it
    assert answer(machine, times, 3, 0, 0x7FFF12345678) == ALLOW
    assert answer(machine, {"x86_64": 93, "aarch64": 55}[machine], 3) == ALLOW  # fchown


@pytest.mark.parametrize("machine", MACHINES)
def test_no_file_is_given_rights_of_its_owner_or_opened_for_everybody_to_write(machine: str) -> None:
    column = list(MACHINES).index(machine)
    creating, unnamed = 0o100, 0o20200000
    places = {"fchmod": (1,), "creat": (1,), "mknod": (1,), "mknodat": (2,), "open": (2,), "openat": (3,)}
    for name, (place,) in places.items():
        if (number := seccomp.LOOKED_AT[name][column]) is None:
            continue
        for flags in (creating, unnamed):
            before = [flags] * place
            for bit in (0o4000, 0o2000, 0o6755):
                assert answer(machine, number, *before, bit | 0o600) == refusal(errno.EPERM), name
            assert answer(machine, number, *before, 0o100664) == ALLOW, name  # with the kind of the file, as mknod has
            assert answer(machine, number, *before, 0o666) == (refusal(errno.EPERM) if name == "fchmod" else ALLOW)
    number = seccomp.LOOKED_AT["openat"][column]
    assert number is not None
    assert answer(machine, number, 3, 0, 0, 0o4777) == ALLOW  # without O_CREAT, what is there is whatever was there


def test_commands_do_without_a_call_whose_mode_cannot_be_read() -> None:
    for machine in MACHINES:
        assert answer(machine, 437) == ALLOW  # workers open files with it
        assert answer(machine, 437, lines=seccomp.program_of_commands(machine)) == refusal(errno.ENOSYS)
        assert answer(machine, 257, lines=seccomp.program_of_commands(machine)) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_a_process_that_computes_is_left_with_what_is_named(machine: str) -> None:
    lines, column = seccomp.program_of_computing(machine), list(MACHINES).index(machine)
    named = {numbers[column] for numbers in seccomp.COMPUTING.values()}
    mapping = {numbers[column] for numbers in seccomp.MAPPING.values()}
    for number in range(600):
        allowed = number in named | mapping
        assert answer(machine, number, lines=lines) == (ALLOW if allowed else refusal(errno.EPERM)), number
    for number in mapping:
        assert answer(machine, number, 0, 0, 4, lines=lines) == refusal(errno.EPERM)
        assert answer(machine, number, 0, 0, 3, lines=lines) == ALLOW


def test_no_other_table_of_calls_leads_around_it() -> None:
    assert answer("x86_64", 41, socket.AF_UNIX, audit=0x40000003) == KILL  # i386
    assert answer("aarch64", 198, socket.AF_UNIX, audit=0x40000028) == KILL  # arm
    assert answer("x86_64", 0x40000000 | 41, socket.AF_UNIX) == refusal(errno.ENOSYS)  # x32


def test_where_files_could_be_emptied_the_call_for_it_is_refused() -> None:
    for machine, number in zip(MACHINES, seccomp.TRUNCATE["truncate"], strict=True):
        assert answer(machine, number) == ALLOW
        assert answer(machine, number, deny_truncate=True) == refusal(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernel(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the headers of the kernel are not installed")
    lines = HEADERS[machine].read_text(encoding="utf-8")
    known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", lines)}
    known.pop("syscalls", None)  # not a call: how many there are
    named = seccomp.DENIED | seccomp.ABSENT | seccomp.WITHOUT_ATTRIBUTES | seccomp.LOOKED_AT
    for name, numbers in (named | seccomp.TRUNCATE | seccomp.OF_COMMANDS | seccomp.COMPUTING | seccomp.MAPPING).items():
        number = numbers[list(MACHINES).index(machine)]
        if name in known or number is None or number <= max(known.values()):  # a younger one than these headers
            assert number == known.get(name), name
