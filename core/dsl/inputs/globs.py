"""Path patterns of the files input: `*`, `?`, `[a-z]` inside one name, `**` across directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from core.dsl.files.links import Links
from core.guard import file_access

_MAGIC = re.compile(r"[*?\[]")


class Found(NamedTuple):
    """A regular file that a pattern matches."""

    path: str
    key: str  # device:inode, the identity that survives a rename
    size: int
    modified: float  # seconds since the epoch


def translate(pattern: str) -> str:
    """A regular expression for the part of a pattern that has wildcards."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if pattern.startswith("**/", at - 1):
            out.append(r"(?:[^/]+/)*")
            at += 2
        elif pattern.startswith("**", at - 1):
            out.append(r".*")
            at += 1
        elif char == "*":
            out.append(r"[^/]*")
        elif char == "?":
            out.append(r"[^/]")
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0 and "/" not in pattern[at:end]:
            inner = pattern[at:end].replace("\\", r"\\").replace("[", r"\[")
            out.append("[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]")
            at = end + 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def check(pattern: str) -> str:
    """Validate a pattern.

    Raises ValueError when it is empty or its character class is broken.
    """
    if not pattern or len(pattern) > file_access.MAX_PATH_BYTES:
        raise ValueError("a path cannot be empty or longer than 4095 characters")
    try:
        re.compile(translate(pattern))
    except re.error as error:
        raise ValueError(f"the path pattern has a broken character class: {error}") from error
    return pattern


def find(access: file_access.FileAccess, pattern: str, links: Links | None = None) -> Iterator[Found]:
    """The regular files that match, sorted by name; a pattern that is a directory means the files in it.

    `links` hears of the symbolic links on the way.

    What is not there matches nothing. Raises Forbidden when the pattern starts where nothing may be read.
    """
    if not _MAGIC.search(pattern):
        full = access.locate(pattern)
        head, _, last = full.rpartition("/")
        try:
            with access.directory(full) as directory:
                yield from _below(directory, "*", 1, links)
            return
        except file_access.NotThere:
            return
        except file_access.NotADirectory:
            pass
        with access.directory(head or "/") as directory:
            yield from _below(directory, last, 1, links)
        return
    parts = pattern.split("/")
    first = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
    base = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")
    rest = "/".join(parts[first:])
    depth = None if "**" in rest else len(parts) - first
    try:
        with access.directory(base) as directory:
            yield from _below(directory, rest, depth, links)
    except file_access.NotThere:
        return


def _below(directory: file_access.Directory, rest: str, depth: int | None, links: Links | None) -> Iterator[Found]:
    matches = re.compile(translate(rest))
    linked = None if links is None else links.within(directory.path, partial(_concerns, rest.split("/")))
    for name, status in directory.files(depth, linked):
        if matches.fullmatch(name) and not name.rsplit("/", 1)[-1].startswith("."):
            path, key = f"{directory.path.rstrip('/')}/{name}", f"{status.st_dev}:{status.st_ino}"
            yield Found(path, key, status.st_size, status.st_mtime)


def _concerns(parts: list[str], name: str, leads_down: bool) -> bool:
    """Whether a pattern, given by its parts, matches this name, or would look for files below it."""
    names = name.split("/")
    for number, one in enumerate(names):
        if "**" in parts[number]:
            return True
        if not re.fullmatch(translate(parts[number]), one):
            return False
    return leads_down == (len(names) < len(parts))
