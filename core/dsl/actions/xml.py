"""The xml action: an XML text to objects, without entities, document types or anything fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple
from xml.parsers import expat

from pydantic import Field

from core.dsl.actions.parsing import Parser
from core.dsl.component import REGISTRY
from core.dsl.events import values
from core.dsl.events.codegen import Warn

MAX_DEPTH = 64
MAX_NODES = 100_000  # elements and attributes of one text


@REGISTRY.register("xml")
class Xml(Parser):
    """Parse a field that holds one XML document. Its root element becomes a field of the event.

    An element with attributes or with other elements in it is an object: attributes under their name with `@` before
    it, elements under theirs, text under `#text`. An element with nothing but text is that text, an empty one is
    null. Elements of one name side by side become an array. Names keep their prefix (`soap:Body`); comments and
    processing instructions are left out. Nothing is ever fetched: a text with a document type (the place of
    entities) is refused, like one that is nested more than 64 deep or has more than 100,000 elements and attributes.
    A field that is missing or not XML leaves the event as it is, with a warning, unless `drop` is set.
    """

    noun: ClassVar[str] = "XML"
    example: ClassVar[str] = """
name: order
input: {echo: {event: '<order id="7"><item>tea</item><item>milk</item><paid>true</paid></order>'}}
actions:
  - xml: {remove: true, autoconvert: true}
output: {print: STDOUT}
"""

    attribute_prefix: str = Field(default="@", max_length=8)
    """What stands before the name of an attribute."""
    text_key: str = Field(default="#text", min_length=1, max_length=64)
    """The key of the text of an element that has attributes or elements as well."""
    arrays: tuple[str, ...] = ()
    """Names of elements that always become an array, also when there is only one."""
    autoconvert: bool = False
    """Turn texts and attributes that clearly are a number, true, false or null into that."""

    def parser(self, warn: Warn) -> Callable[[str], Any]:
        convert: Callable[[str], Any] = values.guess if self.autoconvert else str
        prefix, text_key, arrays = self.attribute_prefix, self.text_key, frozenset(self.arrays)

        def parse(text: str) -> Any:
            tree = _Tree(prefix, text_key, arrays, convert)
            parser = expat.ParserCreate()
            parser.buffer_text = True
            parser.ordered_attributes = True
            parser.StartElementHandler = tree.start
            parser.EndElementHandler = tree.end
            parser.CharacterDataHandler = tree.text
            parser.StartDoctypeDeclHandler = tree.refuse_doctype
            try:
                parser.Parse(text.strip(), True)
            except expat.ExpatError as error:
                raise ValueError(f"{expat.ErrorString(error.code)} at {error.lineno}:{error.offset + 1}") from None
            return tree.root

        return parse


class _Element(NamedTuple):
    """An element that is still open."""

    fields: dict[str, Any]
    texts: list[str]
    several: set[str]  # names of the fields that are arrays


class _Tree:
    """Receives the parts of one document and builds the value."""

    def __init__(self, prefix: str, text_key: str, arrays: frozenset[str], convert: Callable[[str], Any]) -> None:
        self.root: dict[str, Any] = {}
        self._prefix = prefix
        self._text_key = text_key
        self._arrays = arrays
        self._convert = convert
        self._open = [_Element(self.root, [], set())]
        self._nodes = 0

    def start(self, name: str, attributes: list[str]) -> None:
        self._nodes += 1 + len(attributes) // 2
        if self._nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} elements and attributes")
        if len(self._open) > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        fields = {self._prefix + key: self._convert(value) for key, value in pairs}
        self._open.append(_Element(fields, [], set()))

    def text(self, text: str) -> None:
        self._open[-1].texts.append(text)

    def end(self, name: str) -> None:
        fields, texts, _ = self._open.pop()
        text = "".join(texts).strip()
        value: Any = fields
        if not fields:
            value = self._convert(text) if text else None
        elif text:
            fields[self._text_key] = self._convert(text)
        above, _, several = self._open[-1]
        if name in several:
            above[name].append(value)
        elif name in above or name in self._arrays:
            above[name] = [above[name], value] if name in above else [value]
            several.add(name)
        else:
            above[name] = value

    def refuse_doctype(self, *declared: Any) -> None:
        raise ValueError("it has a document type, which is not allowed")
