"""Common flags that stand before the command: `sluice --tenant a status` is `sluice status --tenant a`."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence

_OF_THE_PROGRAM = ("--help", "-h", "--version")


def common_flags() -> Mapping[str, bool]:
    """The flags that every command takes, and whether a value follows."""
    from mcp_server.cli import connect  # what it brings is paid for only where a flag stands first

    fields = dataclasses.fields(connect.Common)
    return {f"--{field.name.replace('_', '-')}": field.default is not False for field in fields} | {"-o": True}


def behind_the_command(argv: Sequence[str], groups: Container[str]) -> list[str]:
    """The command line with the common flags after the command that they stand before.

    `groups` are the first words of commands of two words. A line with flags and no command is left without them.
    """
    first = next((word for word in argv[:2] if word.startswith("-")), None)
    if first is None or first in _OF_THE_PROGRAM:
        return list(argv)
    flags, rest = common_flags(), list(argv)
    path: list[str] = []
    moved: list[str] = []
    while rest and len(path) < (2 if path[:1] and path[0] in groups else 1):
        name, given, _ = rest[0].partition("=")
        if name in flags:
            count = 2 if flags[name] and not given else 1
            moved += rest[:count]
            del rest[:count]
        elif rest[0].startswith("-"):
            break
        else:
            path.append(rest.pop(0))
    return [*path, *moved, *rest] if path else rest
