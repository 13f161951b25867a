"""What a job document needs opened on its worker besides files: commands, addresses, places to listen at. Told before
it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, Protocol, get_args, get_origin, runtime_checkable

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core import pointers
from core.dsl.language import templates


class What(StrEnum):
    """What a worker may have to open."""

    EXEC = "exec"  # run commands
    EGRESS = "egress"  # connect to an address
    LISTEN = "listen"  # listen at an address
    CLOUD = "cloud"  # act as the operator in a cloud
    NATS = "nats"  # know a NATS server


class Names(NamedTuple):
    """Marks a key of a component that names an address."""

    what: What
    url: bool = True
    """Or else host:port."""


URL = Names(What.EGRESS)
CONNECTS = Names(What.EGRESS, url=False)
LISTENS = Names(What.LISTEN, url=False)


class Need(NamedTuple):
    """One thing that a component needs."""

    pointer: str
    what: What
    address: str = ""
    """Of egress and listen; what is filled in behind its host is taken for one harmless name."""
    written: str = ""
    """The address as it is written."""
    url: bool = False
    known: bool = True
    """False: the host is filled in while the job runs."""


@runtime_checkable
class NamesCredentials(Protocol):
    """A part of a component that is somebody in a cloud."""

    def names_credentials(self) -> bool:
        """Whether the document itself says who."""


def of(component: BaseModel, pointer: str) -> Iterator[Need]:
    """What a component needs, with the pointer of each."""
    for what in getattr(component, "needs", ()):
        yield Need(pointer, What(what))
    yield from _within(component, pointer)


def _within(value: object, pointer: str) -> Iterator[Need]:
    if isinstance(value, BaseModel):
        if isinstance(value, NamesCredentials) and not value.names_credentials():
            yield Need(pointer, What.CLOUD)
        for name, field in type(value).model_fields.items():
            inner, at = getattr(value, name), f"{pointer}/{field.alias or name}"
            mark = _mark(field)
            if mark is None:
                yield from _within(inner, at)
            elif isinstance(inner, str) and inner:
                yield _need(at, mark, inner)
            elif isinstance(inner, tuple):
                yield from (_need(f"{at}/{index}", mark, text) for index, text in enumerate(inner))
    elif isinstance(value, tuple | list):
        for index, one in enumerate(value):
            yield from _within(one, f"{pointer}/{index}")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _within(one, f"{pointer}/{pointers.escape(str(key))}")


def _mark(field: FieldInfo) -> Names | None:
    """The mark of a key, also of one that may be left out, or that holds a list."""
    return next((one for one in (*field.metadata, *_metadata(field.annotation)) if isinstance(one, Names)), None)


def _metadata(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
    for inner in get_args(annotation):
        yield from _metadata(inner)


def _need(pointer: str, mark: Names, text: str) -> Need:
    """The address that a key names."""
    parts: list[Any] = [text]
    if mark.url:
        try:
            parts = templates.parse(text)
        except ValueError:
            parts = []  # another fault, which is told by who reads templates
    first = parts[0] if parts and isinstance(parts[0], str) else ""
    _, _, rest = first.partition("://")
    known = parts == [first] or (mark.url and any(end in rest for end in "/?#"))
    address = "".join(part if isinstance(part, str) else "x" for part in parts)
    return Need(pointer, mark.what, address, text, mark.url, known)
