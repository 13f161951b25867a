"""Where a job document names files, and whether its components may go there: told before it runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel

from core.dsl import expand, paths
from core.dsl.component import Limits
from core.errors import Forbidden


@dataclass(frozen=True, slots=True)
class FilePath:
    """Marks the keys of components that name a file or a directory on the worker."""


FILE_PATH = FilePath()
PathText = Annotated[expand.Text, FILE_PATH]
"""A document key that names a file, in which `${...}` and `@{...}` are filled in."""

ANYWHERE = paths.FileAccess(Limits())  # what is refused on every worker: `..`, NUL, /proc and the like


def faults(component: BaseModel, access: paths.FileAccess, pointer: str) -> Iterator[tuple[str, str]]:
    """The pointer of each key that names a place where the component may not go, with the reason.

    What is filled in later is taken for one harmless name, so that only the fixed parts of a path are judged here;
    the worker judges the whole path, and what is on the disk, when it opens it.
    """
    for at, text in _named(component, pointer):
        try:
            parts = expand.parse(text)
        except ValueError:
            continue  # another fault, which is told by who reads templates
        try:
            access.locate("".join(part if isinstance(part, str) else "x" for part in parts))
        except Forbidden as error:
            yield at, f"{error.message} ({error.hint})" if error.hint else error.message


def _named(value: object, pointer: str) -> Iterator[tuple[str, str]]:
    """Every path that is given below a value, with its pointer."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            at = f"{pointer}/{field.alias or name}"
            if FILE_PATH not in field.metadata:
                yield from _named(inner, at)
            elif isinstance(inner, str) and inner:
                yield at, inner
            elif isinstance(inner, tuple):
                yield from ((f"{at}/{index}", one) for index, one in enumerate(inner))
    elif isinstance(value, tuple | list):
        for index, one in enumerate(value):
            yield from _named(one, f"{pointer}/{index}")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _named(one, f"{pointer}/{expand.escape(str(key))}")
