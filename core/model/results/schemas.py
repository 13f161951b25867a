"""The JSON Schema of the type of a result: TypedDicts, enums, lists and the like; what it cannot say it refuses.

Pydantic would make one as well, but before Python 3.12 only of the TypedDict of typing_extensions, and without the
strings below the fields.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import BaseModel

from core import docstrings

PREFIX = "#/$defs/"
_SCALARS: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


@dataclass(frozen=True, eq=False, slots=True)
class Named:
    """Put in Annotated: a definition of this name, for what no TypedDict says."""

    name: str
    schema: dict[str, Any]


JSON = Named("Json", {"description": "Any JSON; what it says is its author's."})
JSON_OBJECT = Named(
    "JsonObject",
    {
        "description": "A JSON object whose keys are its author's: a document, an event, params, values.",
        "type": "object",
        "additionalProperties": True,
    },
)

Json = Annotated[Any, JSON]
JsonObject = Annotated[dict[str, Any], JSON_OBJECT]


class Format(str):
    """Put in Annotated: the format of a text."""


class Called(str):
    """Put in Annotated: the name of an enum, where its own says too little outside of its module."""


class Schemas:
    """Schemas that share their definitions, each under `prefix` and its name."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}
        self._prefix = prefix
        self._kinds: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type. Raises TypeError for one that says nothing, or whose name is that of another one."""
        if kind in _SCALARS:
            return {"type": _SCALARS[kind]}
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is Annotated:
            return self._annotated(arguments[0], arguments[1])
        if origin is Literal:
            return {"type": _SCALARS[type(arguments[0])], "enum": list(arguments)}
        if origin in (typing.Union, types.UnionType):
            return self._one_of(arguments)
        if origin is list:
            return {"type": "array", "items": self.of(arguments[0])}
        if kind == dict[str, Any]:
            return self.of(JsonObject)
        if origin is dict and arguments[0] is str:
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if inspect.isclass(kind) and issubclass(kind, StrEnum):
            return self._enum(kind, kind.__name__)
        if typing.is_typeddict(origin or kind):
            return self._defined(kind, name_of(kind), lambda: self._object(kind))
        raise TypeError(f"{kind!r} says nothing to those who get it: name it, or say Json")

    def _annotated(self, kind: Any, said: Any) -> dict[str, Any]:
        if isinstance(said, Named):
            return self._defined(said.name, said.name, lambda: said.schema)
        if isinstance(said, Called):
            return self._enum(kind, str(said))
        if isinstance(said, Format):
            return {**self.of(kind), "format": str(said)}
        if inspect.isclass(said) and issubclass(said, BaseModel):
            return self._defined((said.__module__, said.__name__), said.__name__, lambda: self._model(said))
        return self.of(said)  # what it is, where a builder has it as a text or a dict

    def _enum(self, kind: type[StrEnum], name: str) -> dict[str, Any]:
        values = [member.value for member in kind]
        return self._defined(kind, name, lambda: {**_description(kind.__doc__), "type": "string", "enum": values})

    def _model(self, kind: type[BaseModel]) -> dict[str, Any]:
        """Of what a pydantic model dumps: every key is there."""
        made = untitled(kind.model_json_schema(mode="serialization", ref_template=self._prefix + "{model}"))
        for name, schema in made.pop("$defs", {}).items():
            self._defined((kind.__module__, name), name, functools.partial(self._named, schema))
        named: dict[str, Any] = self._named(made)
        return named

    def _named(self, node: Any) -> Any:
        """The same with a name for free JSON."""
        if isinstance(node, list):
            return [self._named(one) for one in node]
        if not isinstance(node, dict):
            return node
        if node.get("additionalProperties") is True:
            rest = {key: value for key, value in node.items() if key not in JSON_OBJECT.schema or key == "description"}
            return {**self.of(JsonObject), **rest}
        return {key: self._named(value) for key, value in node.items()}

    def _one_of(self, kinds: tuple[Any, ...]) -> dict[str, Any]:
        nodes = [self.of(kind) for kind in kinds]
        if all(node.keys() == {"type"} for node in nodes):
            return {"type": [node["type"] for node in nodes]}
        return {"anyOf": nodes}

    def _object(self, kind: Any) -> dict[str, Any]:
        properties, required = {}, []
        described = _descriptions(typing.get_origin(kind) or kind)
        for name, hint in fields(kind).items():
            if typing.get_origin(hint) is not NotRequired:
                required.append(name)
            properties[name] = {**self.of(_said(hint)), **_description(described.get(name))}
        about = _description((typing.get_origin(kind) or kind).__doc__)
        return {**about, "type": "object", "properties": properties, "required": required}

    def _defined(self, kind: Any, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        known = self._kinds.setdefault(name, kind)
        if known != kind:
            raise TypeError(f"two results are called {name}: {known!r} and {kind!r}")
        if name not in self.definitions:
            self.definitions[name] = {}  # what contains itself refers to it
            self.definitions[name] = make()
        return {"$ref": self._prefix + name}


def untitled(node: Any, is_properties: bool = False) -> Any:
    """A schema of pydantic without its titles, which repeat the names of the properties."""
    if isinstance(node, dict):
        return {
            key: untitled(value, key in ("properties", "$defs") and not is_properties)
            for key, value in node.items()
            if is_properties or not (key == "title" and isinstance(value, str))
        }
    return [untitled(item) for item in node] if isinstance(node, list) else node


def _description(text: str | None) -> dict[str, str]:
    return {"description": " ".join(text.split())} if text else {}


def reference(kind: Any, prefix: str = PREFIX) -> dict[str, Any]:
    """The schema of a result, made of the names of its types alone."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return {"anyOf": [reference(one, prefix) for one in typing.get_args(kind)]}
    if not typing.is_typeddict(typing.get_origin(kind) or kind):
        return {"$ref": prefix + JSON_OBJECT.name}  # free JSON, which is all that a result may be besides
    return {"$ref": prefix + name_of(kind)}


def name_of(kind: Any) -> str:
    """The name of a TypedDict; of a Page of things, ThingPage."""
    name: str = (typing.get_origin(kind) or kind).__name__
    return "".join(map(name_of, typing.get_args(kind))) + name


def fields(kind: Any) -> dict[str, Any]:
    """Name -> type of a TypedDict, those of its bases first."""
    origin = typing.get_origin(kind) or kind
    values = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(kind), strict=True))
    found: dict[str, Any] = {}
    for base in getattr(origin, "__orig_bases__", ()):
        if typing.is_typeddict(typing.get_origin(base) or base):
            found |= {name: _put(hint, values) for name, hint in fields(base).items()}
    for name, hint in typing.get_type_hints(origin, include_extras=True).items():
        if name not in found or not _open(hint):
            found[name] = _put(hint, values)
    return found


def _open(hint: Any) -> bool:
    return isinstance(hint, TypeVar) or bool(getattr(hint, "__parameters__", ()))


def _put(hint: Any, values: Mapping[Any, Any]) -> Any:
    """A type with its variables filled in."""
    if isinstance(hint, TypeVar):
        return values.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    return hint[tuple(values.get(one, one) for one in variables)] if variables and values else hint


def _descriptions(kind: type) -> dict[str, str]:
    """Field -> the string below it, also of bases: a TypedDict forgets them at run time, and its source does not."""
    found: dict[str, str] = {}
    for base in docstrings.bases_of_module(kind.__module__).get(kind.__name__, ()):
        value: Any = sys.modules[kind.__module__]
        for part in base.split("."):
            value = getattr(value, part, None)
        if typing.is_typeddict(value):
            found |= _descriptions(value)
    return found | docstrings.of_module(kind.__module__).get(kind.__name__, {})


class _Glance(Schemas):
    """Schemas that do not say what is inside of a thing."""

    def _annotated(self, kind: Any, said: Any) -> dict[str, Any]:
        return self.of(kind) if isinstance(said, Format) else super()._annotated(kind, said)

    def _object(self, kind: Any) -> dict[str, Any]:
        return {"type": "object"}

    def _model(self, kind: type[BaseModel]) -> dict[str, Any]:
        return {"type": "object"}

    def _defined(self, kind: Any, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in make().items() if key in ("type", "enum")}


def outline(kind: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """These keys of a result without what is inside of them, for readers who pay for each word of it."""
    hints, glance = fields(kind), _Glance()
    return {"type": "object", "properties": {key: glance.of(_said(hints[key])) for key in keys}}


def _said(hint: Any) -> Any:
    """The type of a key that may be missing."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is NotRequired else hint
