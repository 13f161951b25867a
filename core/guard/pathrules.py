"""Which paths the jobs of one tenant may use: decided by the text of a path, so it can be asked when a plan is made.

What is on the disk decides again when a file is opened (core.guard.file_access). Pure.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Protocol

from core.errors import Forbidden, shorten
from core.fileroots import FileMode, FileRoot
from core.guard.filepolicy import SHARED_MEMORY, SYSTEM_TREES, FilePolicy, is_hidden, is_inside

MAX_PATH_BYTES = 4095
_REMEMBERED = 1024  # answers; the names of files come from events
_UNGRANTED = ", and by a token that grants it: sluice worker-token create --can files"
_NOWHERE = "No setting opens it. Relative paths lie in the data directory of the tenant."


class Locator(Protocol):
    """What says where a path of a document leads."""

    def locate(self, path: str, *, write: bool = False) -> str:
        """The absolute path that a document means.

        Raises Forbidden when jobs of the tenant may not read it (or with `write`: not write it), whatever is on the
        disk.
        """


class AnyOf:
    """Several machines or groups, of which a job may come to any: a path is refused when all of them refuse it."""

    def __init__(self, several: Sequence[Locator]) -> None:
        assert several
        self._several = several

    def locate(self, path: str, *, write: bool = False) -> str:
        """See Locator; the reason is that of the first."""
        first: Forbidden | None = None
        for one in self._several:
            try:
                return one.locate(path, write=write)
            except Forbidden as error:
                first = first or error
        assert first is not None
        raise first


class FileRules:
    """A policy, as it applies to one tenant."""

    def __init__(self, policy: FilePolicy, tenant: str) -> None:
        self._mode = policy.mode
        self._tenant = tenant
        self._data_root = policy.data_root
        self._denied = policy.denied
        self._homes = policy.homes
        self._private = frozenset(policy.private)
        self._roots = policy.roots
        self._granted = policy.granted
        self._judge = functools.lru_cache(_REMEMBERED)(self._judged)

    @property
    def directory(self) -> str:
        """The data directory of the tenant; empty where it has none."""
        return f"{self._data_root}/{self._tenant}" if self._data_root and self._mode is not FileMode.ROOTS else ""

    @property
    def start(self) -> str:
        """Where relative paths start; empty where nothing is open to the tenant."""
        return self.directory or next((root.path for root in self._roots if root.tenant in ("", self._tenant)), "")

    def locate(self, path: str, *, write: bool = False) -> str:
        """See Locator."""
        return self._judge(path, write)

    def root_of(self, full: str) -> str:
        """The path of the file root that an absolute path lies in; empty when it lies in none."""
        found = self._root_of(full)
        return found.path if found is not None else ""

    def _judged(self, path: str, write: bool) -> str:
        shown = shorten(path)
        if not path or "\0" in path or not 0 < _bytes(path) <= MAX_PATH_BYTES:
            raise Forbidden(f"the path {shown} is empty, too long or has a NUL or half a character")
        if ".." in path.split("/"):
            raise Forbidden(f"the path {shown} has a `..`", hint="write the path without `..`")
        if not path.startswith("/"):
            if not self.start:
                raise Forbidden(f"{shown} lies nowhere: no directory is open to jobs here", hint=self._opener())
            path = f"{self.start}/{path}"
        full = os.path.normpath(path)
        if full.startswith("//"):
            full = full[1:]
        if full in self._private:
            raise Forbidden(f"{shown} is a private file of the engine's side", hint=_NOWHERE)
        if self.directory and is_inside(full, self.directory):
            return full
        self._check_closed(full, shown)
        root = self._root_of(full)
        if root is None and self._mode is FileMode.ANYWHERE:
            return full
        if root is None:
            raise Forbidden(
                f"{shown} is outside of where jobs of the tenant {self._tenant} may read and write", hint=self._opener()
            )
        if root.tenant not in ("", self._tenant):
            raise Forbidden(f"{shown} belongs to another tenant", hint=self._opener())
        if write and not root.writable:
            raise Forbidden(
                f"{shown} can only be read by jobs",
                hint=f"whoever runs the worker opened {root.path} with :ro (--file-root, setting file_roots)",
            )
        return full

    def _check_closed(self, full: str, shown: str) -> None:
        """Raise Forbidden for what is closed in every mode."""
        if self._data_root and is_inside(full, self._data_root):
            raise Forbidden(f"{shown} belongs to another tenant", hint=self._opener())
        for tree in self._denied:
            if is_inside(full, tree) and not (tree == "/dev" and is_inside(full, SHARED_MEMORY)):
                raise Forbidden(f"{shown} lies in {tree}, which no job may enter", hint=_NOWHERE)
        for home in self._homes:
            if is_hidden(full, home):
                raise Forbidden(f"{shown} lies in a hidden place of {home}, which no job may enter", hint=_NOWHERE)

    def _root_of(self, full: str) -> FileRoot | None:
        """The root that decides about a path: the nearest one above it, of the tenant rather than of another."""
        found = [root for root in self._roots if is_inside(full, root.path)]
        return max(
            found,
            key=lambda root: (len(root.path), root.tenant in ("", self._tenant), root.writable),
            default=None,
        )

    def _opener(self) -> str:
        """How a place becomes open, and who can do it."""
        own = [root.path for root in self._roots if root.tenant in ("", self._tenant)]
        inside = f"use a relative path, which lies in {self.directory}" if self.directory else "use a relative path"
        there = f", or a path below {', '.join(own)}" if own else ""
        use = f"{inside}{there}; " if self.directory or own else ""
        return (
            f"{use}another directory is opened by whoever runs the worker: --file-root {self._tenant or 'TENANT'}=/PATH"
            f" (setting file_roots){'' if self._granted else _UNGRANTED}"
        )


def _bytes(path: str) -> int:
    """How long it is for the system; 0 for what can be no path."""
    try:
        return len(os.fsencode(path))
    except UnicodeEncodeError:
        return 0


ANYWHERE = FileRules(FilePolicy(FileMode.ANYWHERE, data_root="/.relative", denied=SYSTEM_TREES), tenant="any")
"""What is refused on every worker: `..`, NUL, the trees of the system."""
