"""YAML 1.2 and JSON text to plain values, remembering where each one stood.

The text is untrusted: it is read as a stream of events with budgets, by the core schema alone (`off` stays text, 012
is twelve), and anchors, aliases, tags, merge keys and duplicate keys are refused rather than interpreted.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from core import errors
from core.documents import canonical
from core.errors import Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000

Places = dict[str, tuple[int, int]]  # JSON Pointer -> (line, column), both from 1

_NULL = re.compile(r"(?:~|null|Null|NULL)?\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


@dataclass(frozen=True)
class Document:
    """One document: plain data, and the place of every value in the text that it came from."""

    data: dict[str, Any]
    origin: str  # a file name, or <input>
    text: str = field(repr=False, default="")
    index: int = 0  # which document of the text, from 0

    @property
    def kind(self) -> str:
        """`kind:` of the document; a bare one with input and output is a job, as in the seed."""
        return str(self.data.get("kind", "job"))

    @functools.cached_property
    def _places(self) -> Places:
        try:
            return _parse(_spaced(self.text), self.origin)[self.index][1]
        except (errors.InvalidDocument, IndexError):
            return {}  # JSON that this YAML reader does not take: the file name has to do

    def where(self, pointer: str) -> str:
        """`file:line:column` of the value at a JSON Pointer, or of its nearest parent that is there."""
        while pointer and pointer not in self._places:
            pointer = pointer.rpartition("/")[0]
        place = self._places.get(pointer)
        return self.origin if place is None else f"{self.origin}:{place[0]}:{place[1]}"


def load(text: str, *, origin: str = "<input>") -> list[Document]:
    """Every document of a YAML or JSON text.

    Raises InvalidDocument, with file:line:column, for a text that is malformed, too large or too deep, that repeats
    a key, or that uses anchors, tags or values outside JSON.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise errors.InvalidDocument(f"{origin} is larger than {MAX_BYTES} bytes.")
    if text.lstrip()[:1] in ("{", "["):
        data = _load_json(text, origin)
        if data is not None:
            return [_document(data, origin, text, 0)]
    parsed = _parse(text, origin)
    return [_document(data, origin, text, index) for index, (data, _) in enumerate(parsed)]


def _document(data: Any, origin: str, text: str, index: int) -> Document:
    if not isinstance(data, dict):
        raise errors.InvalidDocument(
            f"{origin} holds no document: expected a map of keys, found {_kind_of(data)}.",
            errors=[Problem("", "must be a map of keys", f"{origin}:1:1")],
        )
    return Document(data, origin, text, index)


def _load_json(text: str, origin: str) -> Any | None:
    """The value of a JSON text; None when it is not JSON but may be YAML in flow style."""
    try:
        return canonical.parse_json(text.encode("utf-8", "surrogatepass"))
    except errors.InvalidParams as error:
        if "stands twice" in error.message or "64 bits" in error.message or "surrogate" in error.message:
            _parse(_spaced(text), origin)  # tells the same with its place, where it can
            raise errors.InvalidDocument(
                f"{origin}: {error.message}", errors=[Problem("", error.message, f"{origin}:1:1")]
            ) from error
        return None


def _spaced(text: str) -> str:
    """The same text for a YAML reader, at the same places: between the values of JSON a tab is white space, and inside
    its texts there is none."""
    return text.replace("\t", " ") if text.lstrip()[:1] in ("{", "[") else text


def _parse(text: str, origin: str) -> list[tuple[Any, Places]]:
    documents: list[tuple[Any, Places]] = []
    reader = _Reader(origin)
    try:
        events = YAML(typ="safe", pure=True).parse(text)  # the other reader marks where `>` folded lines
        for event in events:
            if isinstance(event, yaml_events.DocumentStartEvent):
                reader.places = {}
                data = reader.value(next(events), events, "", 0)
                if data is not None or documents:
                    documents.append((data, reader.places))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = errors.shorten(error.problem or error.context or "it cannot be read", 200)
        raise errors.InvalidDocument(
            f"{origin}:{line}:{column}: not valid YAML: {what}.",
            hint="Check indentation, quotes and colons at this place.",
            errors=[Problem("", what, f"{origin}:{line}:{column}")],
        ) from error
    except YAMLError as error:
        what = errors.shorten(str(error).splitlines()[0], 200)
        raise errors.InvalidDocument(
            f"{origin}: not valid YAML: {what}.", errors=[Problem("", what, f"{origin}:1:1")]
        ) from error
    if not documents:
        raise errors.InvalidDocument(f"{origin} is empty.", hint="Write one document, or several divided by ---.")
    return documents


class _Reader:
    """Builds plain values from YAML events, within the budgets."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._nodes = 0
        self.places: Places = {}

    def value(self, event: Any, events: Iterator[Any], pointer: str, depth: int) -> Any:
        self._nodes += 1
        self.places[pointer] = (event.start_mark.line + 1, event.start_mark.column + 1)
        if self._nodes > MAX_NODES:
            self._refuse(event, pointer, f"the text has more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            self._refuse(event, pointer, f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml_events.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._refuse(event, pointer, "anchors and aliases are not allowed; write the value out")
        tag = str(getattr(event, "tag", None) or getattr(event, "ctag", None) or "")
        if tag and tag != "!":
            self._refuse(event, pointer, f"the tag {errors.shorten(tag, 60)} is not allowed")
        if isinstance(event, yaml_events.ScalarEvent):
            return self._scalar(event, pointer)
        if isinstance(event, yaml_events.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := next(events), yaml_events.SequenceEndEvent):
                items.append(self.value(event, events, f"{pointer}/{len(items)}", depth + 1))
            return items
        out: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml_events.MappingEndEvent):
            key = self._key(event, pointer)
            at = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in out:
                self._refuse(event, at, f"the key {errors.shorten(key, 60)!r} stands twice")
            place = (event.start_mark.line + 1, event.start_mark.column + 1)
            out[key] = self.value(next(events), events, at, depth + 1)
            self.places[at] = place  # a fault is best shown at its key
        return out

    def _key(self, event: Any, pointer: str) -> str:
        if not isinstance(event, yaml_events.ScalarEvent) or event.anchor is not None:
            self._refuse(event, pointer, "a key must be plain text")
        if event.value == "<<" and event.implicit[0]:
            self._refuse(event, pointer, "merge keys (<<) are not allowed; write the keys out")
        return str(event.value)

    def _scalar(self, event: Any, pointer: str) -> Any:
        text = str(event.value)
        if "\0" in text:
            self._refuse(event, pointer, "the text has a NUL character")
        if not event.implicit[0]:  # quoted or block style
            return text
        if _NULL.match(text):
            return None
        if _BOOL.match(text):
            return text[0] in "tT"
        number = self._number(text)
        if isinstance(number, int) and not -(2**63) <= number < 2**63:
            self._refuse(event, pointer, "the integer does not fit in 64 bits; quote it to keep it as text")
        if number is not None:
            return number
        if _NOT_FINITE.match(text):
            self._refuse(event, pointer, "infinity and not-a-number are not allowed")
        return text

    def _number(self, text: str) -> int | float | None:
        if _INT.match(text):
            return int(text) if len(text) < 25 else 2**64
        if _OCTAL.match(text) or _HEX.match(text):
            return int(text, 0) if len(text) < 25 else 2**64
        if _FLOAT.match(text):
            number = float(text)
            return number if abs(number) != float("inf") else 2**64
        return None

    def _refuse(self, event: Any, pointer: str, what: str) -> NoReturn:
        where = f"{self._origin}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
        raise errors.InvalidDocument(f"{where}: {what}.", errors=[Problem(pointer, what, where)])


def _kind_of(data: Any) -> str:
    return {list: "a list", str: "text", type(None): "nothing"}.get(type(data), type(data).__name__)
