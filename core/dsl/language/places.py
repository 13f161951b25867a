"""Where a job document names files, and whether its components may go there: told before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import BaseModel

from core import pointers
from core.dsl.language import templates
from core.errors import Forbidden
from core.guard.pathrules import Locator


@dataclass(frozen=True, slots=True)
class FilePath:
    """Marks a key of a component that names a file or a directory on the worker."""

    writes: bool = False  # whether the component makes, changes or deletes files there
    writes_with: str = ""  # the attribute with which it does so, when it is given


READ = FilePath()
WRITTEN = FilePath(writes=True)
ReadText = Annotated[templates.Text, READ]
"""A document key that names what is read, in which `${...}` and `@{...}` are filled in."""
WrittenText = Annotated[templates.Text, WRITTEN]
"""A document key that names what is written, likewise."""


class Named(NamedTuple):
    """A path that a component names."""

    pointer: str
    text: str
    writes: bool
    template: bool = True
    """Whether `${...}` and `@{...}` are filled in."""


class Refused(NamedTuple):
    """A path that a component may not use, and why."""

    pointer: str
    why: Forbidden

    def __str__(self) -> str:
        return f"{self.why.message} ({self.why.hint})" if self.why.hint else self.why.message


def refusals(component: BaseModel, access: Locator, pointer: str) -> Iterator[Refused]:
    """The keys that name a place where the component may not go.

    What is filled in later is taken for one harmless name, so that only the fixed parts of a path are judged here;
    the worker judges the whole path, and what is on the disk, when it opens it.
    """
    for one in named(component, pointer):
        yield from refused(one, access)


def refused(one: Named, access: Locator) -> Iterator[Refused]:
    """The same of one path: nothing when it may be used."""
    if not one.template and ("${" in one.text or "@{" in one.text):
        why = "nothing is filled in here: the path would have that name"
        yield Refused(one.pointer, Forbidden(why, hint="write the path as it is, or with {{context values}}"))
        return
    try:
        parts = templates.parse(one.text)
    except ValueError:
        return  # another fault, which is told by who reads templates
    try:
        access.locate("".join(part if isinstance(part, str) else "x" for part in parts), write=one.writes)
    except Forbidden as error:
        yield Refused(one.pointer, error)


def named(value: object, pointer: str) -> Iterator[Named]:
    """Every path that is given below a value, with its pointer."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            at = f"{pointer}/{field.alias or name}"
            mark = next((one for one in field.metadata if isinstance(one, FilePath)), None)
            if mark is None:
                yield from named(inner, at)
                continue
            writes = mark.writes or bool(mark.writes_with and getattr(value, mark.writes_with))
            if isinstance(inner, str) and inner:
                yield Named(
                    at, inner, writes, any(getattr(one, "func", None) is templates.check for one in field.metadata)
                )
            elif isinstance(inner, tuple):
                yield from (Named(f"{at}/{index}", text, writes) for index, text in enumerate(inner))
    elif isinstance(value, tuple | list):
        for index, one in enumerate(value):
            yield from named(one, f"{pointer}/{index}")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from named(one, f"{pointer}/{pointers.escape(key)}")
