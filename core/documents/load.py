"""YAML 1.2 and JSON text to plain values, remembering where each one stood.

The text is untrusted: it is read as a stream of events with budgets, by the core schema alone (`off` stays text, 012
is twelve), and anchors, aliases, tags, merge keys and duplicate keys are refused rather than interpreted. libyaml makes
the events, two million a second; what they mean is decided here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from yaml import events as yaml_events
from yaml.cyaml import CParser
from yaml.error import Mark, MarkedYAMLError, YAMLError

from core import errors, pointers
from core.documents import canonical
from core.errors import Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000

Places = dict[str, tuple[int, int]]  # JSON Pointer -> (line, column), both from 1

# What a plain scalar stands for, by the core schema of YAML 1.2.1 (section 10.3.2); anything else is text.
_PLAIN = re.compile(
    r"(?:(?P<null>~|null|Null|NULL|)"
    r"|(?P<bool>true|True|TRUE|false|False|FALSE)"
    r"|(?P<int>[-+]?[0-9]+)"
    r"|(?P<base>0o[0-7]+|0x[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<endless>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)))\Z"
)
_INTEGER_DIGITS = 24  # any that is longer is out of range
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)
_NOT_TOLD = "found character that"
# A plain value with a placeholder in it, which YAML takes for a map in braces or breaks off at.
_PLACEHOLDER = re.compile(
    r"""(?<!["'\w])(?:[^\s,{}\[\]"'#]|[$@]\{[^{}\n]*\}|\{\{[^{}\n]*\}\})*?(?:\{\{[^{}\n]*\}\}|[$@]\{[^{}\n]*\})"""
    r"""(?:[^\s,{}\[\]"'#]|[$@]\{[^{}\n]*\}|\{\{[^{}\n]*\}\})*"""
)
_TOO_LARGE = "the integer does not fit in 64 bits; quote it to keep it as text"
_AROUND = 200  # characters
_REMEDIES = {
    "mapping values are not allowed": "A text with a colon and a space in it has to stand in quotes, and a key on a"
    " line of its own needs a space behind its colon.",
    "found character '\\t'": "Indent with spaces; YAML takes no tabs there.",
    "did not find expected ',' or '}'": "Within { } a text with a colon, a comma, a brace or an apostrophe has to stand"
    " in double quotes.",
}


@dataclass(frozen=True)
class Document:
    """One document: plain data, and the place of every value in the text that it came from."""

    data: dict[str, Any]
    origin: str  # a file name, or <input>
    text: str = field(repr=False, default="")
    index: int = 0  # which document of the text, from 0

    @property
    def kind(self) -> str:
        """`kind:` of the document; a bare one with input and output is a job."""
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
    directive = _TAG_DIRECTIVE.search(text)
    if directive is not None:  # libyaml compares each with all before it
        where = f"{origin}:{text.count(chr(10), 0, directive.start()) + 1}:1"
        told = "tags are not allowed, and so is %TAG"
        raise errors.InvalidDocument(f"{where}: {told}.", errors=[Problem("", told, where)])
    try:
        plain, original = _one_kind_of_break(text)
        reader = _Reader(origin, text, original)
        events = iter(CParser(plain).get_event, None)
        for event in events:
            if isinstance(event, yaml_events.DocumentStartEvent):
                reader.places = {}
                data = reader.value(next(events), events, "", 0)
                if data is not None or documents:
                    documents.append((data, reader.places))
    except MarkedYAMLError as error:
        line, column, what = _fault(error, text)
        if found := _unquoted(text, line, column):
            column, what = found[0], _quote(found[1])
            told, hint = what, "Braces without quotes are a map in YAML."
        else:
            remedies = (remedy for fault, remedy in _REMEDIES.items() if what.startswith(fault))
            told, hint = (
                f"not valid YAML: {what}",
                next(remedies, "Check indentation, quotes and colons at this place."),
            )
        where = f"{origin}:{line}:{column}"
        raise errors.InvalidDocument(f"{where}: {told}.", hint=hint, errors=[Problem("", what, where)]) from error
    except (YAMLError, UnicodeEncodeError) as error:  # a character that no text may have; half of a surrogate pair
        what = errors.shorten(str(error).splitlines()[0], 200)
        raise errors.InvalidDocument(
            f"{origin}: not valid YAML: {what}.", errors=[Problem("", what, f"{origin}:1:1")]
        ) from error
    if not documents:
        raise errors.InvalidDocument(f"{origin} is empty.", hint="Write one document, or several divided by ---.")
    return documents


def _one_kind_of_break(text: str) -> tuple[str, dict[int, int]]:
    """The text with one character for each, at the same places, that libyaml takes for no line break, as in YAML 1.2,
    and for no byte order mark; and the way back.

    libyaml breaks lines at U+0085, U+2028 and U+2029 as YAML 1.1 did. They are stood in for by characters that the
    text does not have: of the million beyond U+FFFF a text of MAX_BYTES holds a quarter at most.
    """
    mark, written = text[:1] if text.startswith("\ufeff") else "", text.removeprefix("\ufeff")
    odd = [ord(character) for character in "\x85\u2028\u2029\ufeff" if character in written]
    if not odd:
        return text, {}
    present = set(map(ord, text))
    spare = (code for code in range(0x10FFFD, 0xFFFF, -1) if code not in present)
    away = dict(zip(odd, spare, strict=False))
    return mark + written.translate(away), {new: old for old, new in away.items()}


def _unquoted(text: str, line: int, column: int) -> tuple[int, str] | None:
    """The column and the text of a value with a placeholder, without quotes, that reaches this place of a line."""
    written = text.split("\n")[line - 1 : line]
    begin = max(0, column - _AROUND)  # a line may be a million characters long
    for found in _PLACEHOLDER.finditer(written[0][begin : column + _AROUND]) if written else ():
        if begin + found.start() < column <= begin + found.end() + 1:
            return begin + found.start() + 1, found[0]
    return None


def _quote(text: str) -> str:
    written = errors.shorten(text, 100)
    return f'{written} has to stand in quotes; quote it: "{written}"'


def _fault(error: MarkedYAMLError, text: str) -> tuple[int, int, str]:
    """Line, column (both from 1) and what is wrong there; what ends too early is told where the text ends."""
    what = str(error.problem or error.context or "it cannot be read")
    mark: Mark | None = error.problem_mark or error.context_mark
    if mark is None:
        return 1, 1, errors.shorten(what, 200)
    line, column = mark.line + 1, mark.column + 1
    if what.startswith(_NOT_TOLD) and mark.index < len(text):
        what = f"found character {text[mark.index]!r} that{what.removeprefix(_NOT_TOLD)}"
    written = text.rstrip()
    if mark.index >= len(written):
        line, column = written.count("\n") + 1, len(written) - written.rfind("\n")
    begun: Mark | None = error.context_mark
    if begun is not None and begun.line + 1 < line:
        what += f" {error.context} that begins on line {begun.line + 1}"
    return line, column, errors.shorten(what, 200)


class _Reader:
    """Builds plain values from YAML events, within the budgets."""

    def __init__(self, origin: str, written: str, original: dict[int, int]) -> None:
        self._origin = origin
        self._written = written
        self._original = original  # characters that were stood in for: their code -> the one in the text
        self._nodes = 0
        self.places: Places = {}

    def value(self, event: Any, events: Iterator[Any], pointer: str, depth: int) -> Any:
        self._nodes += 1
        mark = event.start_mark
        self.places[pointer] = (mark.line + 1, mark.column + 1)
        if self._nodes > MAX_NODES:
            self._refuse(event, pointer, f"the text has more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            self._refuse(event, pointer, f"it is nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:  # an alias has its name there
            self._refuse(event, pointer, "anchors and aliases are not allowed; write the value out")
        if event.tag and event.tag != "!":
            self._refuse(event, pointer, f"the tag {errors.shorten(str(event.tag), 60)} is not allowed")
        kind = type(event)  # libyaml makes these very classes
        if kind is yaml_events.ScalarEvent:
            return self._scalar(event, pointer)
        if kind is yaml_events.SequenceStartEvent:
            items: list[Any] = []
            while type(event := next(events)) is not yaml_events.SequenceEndEvent:
                items.append(self.value(event, events, f"{pointer}/{len(items)}", depth + 1))
            return items
        out: dict[str, Any] = {}
        while type(event := next(events)) is not yaml_events.MappingEndEvent:
            key = self._key(event, pointer)
            at = f"{pointer}/{pointers.escape(key)}"
            if key in out:
                self._refuse(event, at, f"the key {errors.shorten(key, 60)!r} stands twice")
            place = (event.start_mark.line + 1, event.start_mark.column + 1)
            out[key] = self.value(next(events), events, at, depth + 1)
            self.places[at] = place  # a fault is best shown at its key
        return out

    def _key(self, event: Any, pointer: str) -> str:
        if not isinstance(event, yaml_events.ScalarEvent) or event.anchor is not None:
            mark = event.start_mark
            found = _unquoted(self._written, mark.line + 1, mark.column + 1)
            if found:
                self._refuse(event, pointer, _quote(found[1]), found[0])
            self._refuse(event, pointer, "a key must be plain text")
        if event.value == "<<" and event.implicit[0]:
            self._refuse(event, pointer, "merge keys (<<) are not allowed; write the keys out")
        return self._text(event)

    def _text(self, event: Any) -> str:
        text = str(event.value)
        return text.translate(self._original) if self._original else text

    def _scalar(self, event: Any, pointer: str) -> Any:
        text = self._text(event)
        if "\0" in text:
            self._refuse(event, pointer, "the text has a NUL character")
        if not event.implicit[0]:  # quoted or block style
            return text
        found = _PLAIN.match(text)
        stands_for = found and found.lastgroup
        if stands_for is None:
            return text
        if stands_for == "null":
            return None
        if stands_for == "bool":
            return text[0] in "tT"
        if stands_for == "endless":
            self._refuse(event, pointer, "infinity and not-a-number are not allowed")
        if stands_for == "float":
            return self._float(event, pointer, text)
        number = int(text, 0 if stands_for == "base" else 10) if len(text) <= _INTEGER_DIGITS else 2**64
        if not -(2**63) <= number < 2**63:
            self._refuse(event, pointer, _TOO_LARGE)
        return number

    def _float(self, event: Any, pointer: str, text: str) -> float:
        number = float(text)
        if abs(number) == float("inf"):
            self._refuse(event, pointer, _TOO_LARGE)
        return number

    def _refuse(self, event: Any, pointer: str, what: str, column: int = 0) -> NoReturn:
        where = f"{self._origin}:{event.start_mark.line + 1}:{column or event.start_mark.column + 1}"
        raise errors.InvalidDocument(f"{where}: {what}.", errors=[Problem(pointer, what, where)])


def _kind_of(data: Any) -> str:
    return {list: "a list", str: "text", type(None): "nothing"}.get(type(data), type(data).__name__)
