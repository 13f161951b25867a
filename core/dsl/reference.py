"""The reference of the job language as values: index, entries, keys, search. Pure; docs and doors show the same.

It is made for a reader with little room: every answer is below ANSWER_CHARACTERS, and names what to ask next.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from core import errors
from core.dsl import schedule, topics
from core.dsl.action import Action
from core.dsl.component import REGISTRY, Config
from core.dsl.emit import Emit
from core.dsl.registry import load_components

KINDS = ("input", "action", "output", "trigger", "expansion", "condition", "document")
ANSWER_CHARACTERS = 3_000  # of the JSON; with the text that a door adds, below 2,000 tokens of 3 characters
DOC_CHARACTERS = 110
_WORD = re.compile(r"[^\W_]+")

_BLOCKS: dict[tuple[str, str], tuple[type[Config], str]] = {
    ("document", "emit"): (
        Emit,
        "name: tell-when-done\ninput: {echo: {event: hello}}\noutput: {print: STDOUT}\n"
        'emit: {tag: stage1-done, data: {count: "${stat|events_out}"}}',
    ),
    ("trigger", "interval"): (
        schedule.Interval,
        "name: every-minute\ninput: {echo: {event: tick, trigger: {interval: 60s}}}\noutput: {print: STDOUT}",
    ),
    ("trigger", "cron"): (
        schedule.Cron,
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
    """The keys of a declaration, in the order in which it has them."""
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
def entries() -> dict[tuple[str, str], Entry]:
    """Every entry by (kind, name), in the order of KINDS."""
    load_components()
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


# ---- answers -------------------------------------------------------------------------------------------------------


def index() -> dict[str, Any]:
    """Every name, a line for each kind."""
    names = {kind: ", ".join(name for k, name in entries() if k == kind) for kind in KINDS}
    return {**names, "next": "kind and name show one entry; kind alone, its entries with a line each; query searches."}


def of_kind(kind: str) -> dict[str, Any]:
    """The entries of a kind with a line each."""
    rows = [{"name": entry.name, "summary": entry.summary} for entry in entries().values() if entry.kind == kind]
    for limit in (DOC_CHARACTERS, 80, 60, 45, 30, 15):
        items = [{**row, "summary": errors.shorten(row["summary"], limit)} for row in rows]
        if fits(out := {"kind": kind, "items": items, "next": "Add name to see keys and an example."}):
            break
    return out


def find(kind: str | None, name: str) -> list[Entry]:
    """The entries of that name. Raises NotFound with what was probably meant."""
    found = [entry for (k, n), entry in entries().items() if n == name and (kind is None or k == kind)]
    if not found:
        names = sorted({n for k, n in entries() if kind is None or k == kind})
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        guess = f" Did you mean {' or '.join(near)}?" if near else ""
        raise errors.NotFound(
            f"The job language has no {kind or 'entry'} {errors.shorten(name, 60)}.{guess}",
            hint="dsl_reference without arguments lists every name; query searches.",
        )
    return found


def show(entry: Entry, key: str = "") -> dict[str, Any]:
    """One entry, or what stands below one of its keys (`auth`, `auth.basic`). Raises NotFound."""
    if key:
        return _below(entry, key)
    head = {"kind": entry.kind, "name": entry.name}
    rest = {"example": entry.example}
    if entry.kind == "action":
        rest["also"] = "condition, description, suppress-warnings: see document action-keys"
    return _with_keys(head, entry.about, entry.keys, rest)


def _below(entry: Entry, path: str) -> dict[str, Any]:
    keys, seen = entry.keys, ""
    found: Key | None = None
    for step in path.split("."):
        found = next((key for key in keys if key.name == step), None)
        if found is None:
            raise errors.NotFound(
                f"{entry.kind} {entry.name} has no key {errors.shorten(seen + step, 60)}.",
                hint=f"Keys here: {errors.shorten(', '.join(key.name for key in keys), 300) or 'none'}.",
            )
        seen += f"{step}."
        keys = keys_of(found.model) if found.model is not None else ()
    assert found is not None
    head = {"kind": entry.kind, "name": entry.name, "key": path}
    about = f"{found.line(0)}: {' '.join(found.doc.split())}"
    return _with_keys(head, about, keys, {})


def _with_keys(head: dict[str, Any], about: str, keys: Sequence[Key], rest: dict[str, Any]) -> dict[str, Any]:
    """The answer with as much about each key as fits; what was left out can be asked for key by key."""
    below = [key.name for key in keys if key.model is not None]
    if below:
        rest["more"] = f"Ask with key for what stands below {', '.join(below)}, or for all about one key."
    for prose, limit in ((2000, 110), (700, 110), (400, 80), (300, 60), (200, 45), (150, 30), (100, 0)):
        lines = [key.line(limit) for key in keys]
        out = {**head, "about": errors.shorten(about, prose), **({"keys": lines} if lines else {}), **rest}
        if fits(out):
            return out
    return {**out, "keys": [", ".join(key.name for key in keys)]}


def search(query: str) -> dict[str, Any]:
    """The entries and keys in which every word of the query is found, best first; failing that, most words."""
    words = query.casefold().replace("-", " ").split()
    told = errors.shorten(query, 80)
    items, hint = _with_all(words), "kind and name show an entry."
    if not items:
        items, hint = _with_most(words), "Nothing has all these words; these have most of them."
    if not items:
        return {"query": told, "items": [], "total": 0, "next": "Nothing has these words; without arguments: index."}
    for shown in range(min(len(items), 15), 0, -1):
        out = {"query": told, "items": items[:shown], "total": len(items), "next": hint}
        if fits(out):
            break
    return out


def _with_all(words: list[str]) -> list[dict[str, Any]]:
    """Entries and keys that have every word, those with the words in their names first."""
    ranked: list[tuple[int, int, dict[str, Any]]] = []
    for number, entry in enumerate(entries().values()):
        name = entry.name.casefold().replace("-", " ")
        rank = _rank(words, (name, f"{name} {entry.summary}", f"{name} {entry.kind} {entry.text} {entry.example}"))
        at = {"kind": entry.kind, "name": entry.name}
        if rank is not None:
            ranked.append((rank * 2, number, {**at, "summary": entry.summary}))
        for key in entry.keys:
            rank = _rank(words, (key.name.replace("-", " "), f"{key.name} {name}", f"{name} {key.name} {key.doc}"))
            if rank is not None:
                ranked.append((rank * 2 + 1, number, {**at, "key": key.name, "summary": first_sentence(key.doc)}))
    return [found[2] for found in sorted(ranked, key=lambda found: found[:2])]


def _with_most(words: list[str]) -> list[dict[str, Any]]:
    """Entries that have some of the words as words, best first: a question in plain language has words of its own.

    A word counts more the fewer entries have it, so that `a` and `the` count next to nothing, and three times in the
    name of the entry. Entries with less than half of the best one's weight are left out.
    """
    texts: dict[tuple[str, str], set[str]] = {}
    for at, entry in entries().items():
        keys = " ".join(f"{key.name} {key.doc}" for key in entry.keys)
        texts[at] = set(_WORD.findall(f"{entry.name} {entry.kind} {entry.text} {keys}".casefold()))
    asked = {form for word in words for form in _WORD.findall(word)}
    rarity = {word: sum(word in text for text in texts.values()) for word in asked}
    weights: list[tuple[float, Entry]] = []
    for at, entry in entries().items():
        names = set(_WORD.findall(entry.name.casefold()))
        weight = sum((3 if word in names else 1) / rarity[word] for word in asked & texts[at])
        weights.append((weight, entry))
    weights.sort(key=lambda found: -found[0])
    least = max(weights[0][0] / 2, 1e-9)
    best = [entry for weight, entry in weights if weight >= least]
    return [{"kind": entry.kind, "name": entry.name, "summary": entry.summary} for entry in best]


def _rank(words: list[str], texts: tuple[str, str, str]) -> int | None:
    """0 when every word is in the first text, 1 the second, 2 the third; None when one is nowhere."""
    return next((n for n, text in enumerate(texts) if all(word in text.casefold() for word in words)), None)


def fits(answer: dict[str, Any]) -> bool:
    """Whether an answer is small enough."""
    return len(orjson.dumps(answer, default=str)) <= ANSWER_CHARACTERS
