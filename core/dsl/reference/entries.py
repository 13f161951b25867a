"""The entries of the reference of the job language, read off the components and their docstrings. Pure."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from core import errors
from core.dsl.component import REGISTRY, Config
from core.dsl.language import schedule, timers
from core.dsl.language.action import Action
from core.dsl.language.emit import Emit
from core.dsl.language.on_error import OnError
from core.dsl.reference import topics

KINDS = ("input", "action", "output", "trigger", "expansion", "condition", "document")
DOC_CHARACTERS = 110

_BLOCKS: dict[tuple[str, str], tuple[type[Config], str]] = {
    ("document", "emit"): (
        Emit,
        "name: tell-when-done\ninput: {echo: {event: hello}}\noutput: {print: STDOUT}\n"
        'emit: {tag: stage1-done, data: {count: "${stat|events_out}"}}',
    ),
    ("document", "on-error"): (
        OnError,
        'name: by-host\ninput:\n  echo:\n    json: true\n    event: |\n      {"host": "web1"}\n      {"at": "home"}\n'
        "output: {file: 'by-host/${host}.jsonl'}\non-error: {send: {message: rejected}}",
    ),
    ("trigger", "interval"): (
        timers.Interval,
        "name: every-minute\ninput: {echo: {event: tick, trigger: {interval: 60s}}}\noutput: {print: STDOUT}",
    ),
    ("trigger", "cron"): (
        timers.Cron,
        'name: nightly\ninput:\n  echo: {event: tick, trigger: {cron: {expression: "0 30 2 * * *", immediate: true}}}\n'
        "output: {print: STDOUT}",
    ),
    ("trigger", "message"): (
        schedule.MessageFilter,
        "name: on-tag\ninput:\n  echo: {event: go, trigger: {message: {filter-type: [user-generated], filter-tag: go}}}"
        "\noutput: {print: STDOUT}",
    ),
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an entry."""

    name: str
    kind: str  # its type in a few words
    required: bool
    default: Any
    doc: str  # all of it
    model: type[BaseModel] | None  # whose keys stand below it

    def line(self, limit: int = DOC_CHARACTERS) -> str:
        """The key on one line: name (type, default): what it is for."""
        traits = [self.kind] if self.kind else []
        if self.required:
            traits.append("required")
        elif self.default not in (None, "", False, [], {}, ()):
            traits.append(f"default {self.default}")
        head = f"{self.name} ({', '.join(traits)})" if traits else self.name
        return f"{head}: {first_sentence(self.doc, limit)}" if limit else head


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be written in a job document."""

    kind: str
    name: str
    summary: str
    text: str  # what there is to know besides the keys
    keys: tuple[Key, ...]
    example: str

    @property
    def about(self) -> str:
        """Everything in words: what it is, and what there is to know besides its keys."""
        prose = " ".join(self.text.split())
        return prose if prose.startswith(self.summary.rstrip("…")) else f"{self.summary} {prose}"


def first_sentence(text: str, limit: int = DOC_CHARACTERS) -> str:
    """The first sentence of a description on one line."""
    line = " ".join(text.split())
    sentence = re.split(r"(?<=[a-z0-9)`])[.;] (?=[A-Z`a-z])", line, maxsplit=1)[0].rstrip(".")
    return errors.shorten(sentence, limit)


def type_of(node: dict[str, Any], root: dict[str, Any]) -> str:
    """A JSON Schema type in a few words."""
    if "$ref" in node:
        node = root.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2], {})
    if "enum" in node:
        return " | ".join(f"`{value}`" for value in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    branches = node.get("anyOf") or node.get("oneOf")
    if branches:
        return " or ".join(dict.fromkeys(type_of(branch, root) for branch in branches if branch.get("type") != "null"))
    if node.get("type") == "array":
        return f"list of {type_of(node.get('items', {}), root)}"
    kind = node.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def keys_of(model: type[BaseModel]) -> tuple[Key, ...]:
    """The keys of a declaration, in the order in which it has them; the one that a bare value stands for first."""
    schema = model.model_json_schema(by_alias=True)
    properties = _properties(schema, schema)
    out = []
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        node = properties.get(name, {})
        default = None if field.is_required() else node.get("default", field.default)
        if isinstance(default, BaseModel | dict) or default is PydanticUndefined:
            default = None  # an object with keys of its own, or an empty one
        kind = type_of(node, schema)
        out.append(Key(name, kind, field.is_required(), default, field.description or "", _model_in(field.annotation)))
    out.sort(key=lambda key: key.name != getattr(model, "scalar", ""))
    return tuple(out)


def _properties(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The properties of a model's schema, which may stand in a branch or behind a reference."""
    if "$ref" in node:
        node = root["$defs"][str(node["$ref"]).rpartition("/")[2]]
    if node.get("properties"):
        found: dict[str, Any] = node["properties"]
        return found
    for branch in node.get("anyOf", ()):
        if found := _properties(branch, root):
            return found
    return {}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if annotation.model_fields else None
    return next((model for part in getattr(annotation, "__args__", ()) if (model := _model_in(part))), None)


@functools.cache
def by_name() -> dict[tuple[str, str], Entry]:
    """Every entry by (kind, name), in the order of KINDS."""
    found = [*_components(), *_blocks(), *(_topic(topic) for topic in topics.TOPICS)]
    found.sort(key=lambda entry: (KINDS.index(entry.kind), entry.name))
    return {(entry.kind, entry.name): entry for entry in found}


def _components() -> Iterator[Entry]:
    shared = set(Action.model_fields)
    for cls in REGISTRY:
        doc = inspect.cleandoc(cls.__doc__ or "")
        keys = keys_of(cls)
        if issubclass(cls, Action):
            keys = tuple(key for key, name in zip(keys, cls.model_fields, strict=True) if name not in shared)
        yield Entry(cls.kind, cls.name, first_sentence(doc), doc, keys, inspect.cleandoc(cls.example))


def _blocks() -> Iterator[Entry]:
    for (kind, name), (model, example) in _BLOCKS.items():
        doc = inspect.cleandoc(model.__doc__ or "")
        yield Entry(kind, name, first_sentence(doc), doc, keys_of(model), example)


def _topic(topic: topics.Topic) -> Entry:
    keys = tuple(Key(word, "", False, None, meaning, None) for word, meaning in topic.rows)
    return Entry(topic.kind, topic.name, topic.summary, topic.text, keys, inspect.cleandoc(topic.example))
