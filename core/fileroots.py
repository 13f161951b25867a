"""What an operator opens to the file components of jobs: a mode, and directories with whom they are for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_PREFIX = re.compile(r"(?:(?P<group>[a-z0-9][a-z0-9_-]{0,62}):)?(?:(?P<tenant>[A-Za-z0-9][A-Za-z0-9._-]{0,63})=)?")
_READ_ONLY = ":ro"
FORM = "[GROUP:][TENANT=]/PATH[:ro], such as /srv/in, acme=/srv/acme or etl:acme=/srv/in:ro"


class FileMode(StrEnum):
    """Which files the jobs of a tenant may touch, of those that are not denied to every job."""

    TENANT = "tenant"
    """Those below the data directory of their tenant, and below its file roots."""
    ROOTS = "roots"
    """Those below its file roots alone."""
    ANYWHERE = "anywhere"
    """All."""


@dataclass(frozen=True, slots=True)
class FileRoot:
    """A directory that an operator opens to jobs."""

    path: str  # absolute
    tenant: str = ""  # empty: of every tenant
    group: str = ""  # worker group; empty: of every group
    writable: bool = True

    @classmethod
    def parse(cls, text: str) -> FileRoot:
        """Read `[GROUP:][TENANT=]PATH[:ro]`.

        Raises ValueError that says what fits.
        """
        before, slash, rest = text.partition("/")
        found = _PREFIX.fullmatch(before)
        if not slash or found is None:
            raise ValueError(f"{text[:80]!r} is no file root; write {FORM}")
        path = slash + rest.removesuffix(_READ_ONLY)
        if "\0" in path or ".." in path.split("/"):
            raise ValueError(f"the path of the file root {text[:80]!r} has a `..` or a NUL; write it without")
        return cls(path, found["tenant"] or "", found["group"] or "", not rest.endswith(_READ_ONLY))

    def __str__(self) -> str:
        """The text that `parse` reads."""
        group, tenant = self.group and f"{self.group}:", self.tenant and f"{self.tenant}="
        return f"{group}{tenant}{self.path}{'' if self.writable else _READ_ONLY}"


def _read(value: Any) -> Any:
    return FileRoot.parse(value) if isinstance(value, str) else value


FileRootText = Annotated[
    FileRoot, BeforeValidator(_read), PlainSerializer(str), WithJsonSchema({"type": "string", "description": FORM})
]
"""A file root of a settings model, written as text."""
