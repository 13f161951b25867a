"""Faults of documents as problems with places, in plain words: what is wrong, what is allowed, what was meant."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pydantic

from core import errors, pointers
from core.documents.load import Document
from core.errors import Problem
from core.model import spellings
from core.near import did_you_mean, nearest

M = TypeVar("M", bound=pydantic.BaseModel)
Where = Callable[[str], str]
SUGGESTED = 100  # faults of one document; whoever has more unknown keys has not slipped at each of them
_QUOTED = re.compile(r"'([^']*)'")
_FOLLOWS = "default_factory_not_called"  # a default that is made of another value, whose fault is told
_KINDS = {
    **dict.fromkeys(("string_type", "string_unicode"), "a text"),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(
        ("list_type", "tuple_type", "named_tuple_type", "set_type", "frozen_set_type", "iterable_type"), "a list"
    ),
    **dict.fromkeys(
        (
            *("dict_type", "frozen_dict_type", "ordered_dict_type", "mapping_type", "arguments_type"),
            *("model_type", "model_attributes_type", "dataclass_type", "dataclass_exact_type"),
        ),
        "a map",
    ),
    "none_required": "left out",
}
"""What is wanted, by the faults of pydantic that say it in words of Python."""
_ITEMS = "; begin each item with `- `"


def suggest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the allowed words when none is near."""
    names = sorted(allowed)
    guess = did_you_mean(word, names, "; did you mean {!r}?")
    return guess or (f"; allowed: {', '.join(names)}" if names else "")


def problems_of(
    error: pydantic.ValidationError,
    model: type[pydantic.BaseModel],
    where: Where | None = None,
    at: str = "",
    data: Any = None,
) -> list[Problem]:
    """Every fault of a validation, with pointer, place and, for an unknown key, what was probably meant.

    With `data`, what was validated, the pointers lead to what is written there and not to the long form of it.
    """
    found: list[Problem] = []
    for fault in faults_of(error, model):
        location, pattern = fault["loc"], None
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            meant = _meant(model, location) if len(found) < SUGGESTED else ""
            message = f"unknown key {errors.shorten(str(location[-1]), 60)!r}{meant}"
        elif fault["type"] == "missing":
            message = f"the key {location[-1]!r} is missing"
        elif fault["type"] == "string_pattern_mismatch":
            pattern = fault["ctx"]["pattern"]
            message = f"{spellings.explain(pattern)}; found {errors.shorten(repr(fault['input']), 80)}"
        elif fault["type"] == "too_short":
            message = f"needs at least {fault['ctx']['min_length']}, and has {len(fault['input']) or 'none'}"
        elif fault["type"] == "too_long":
            message = f"may have at most {fault['ctx']['max_length']}, and has {len(fault['input'])}"
        elif fault["type"] in ("enum", "literal_error") and isinstance(fault["input"], str):
            allowed = choices(fault)
            guess = did_you_mean(fault["input"], allowed, "; did you mean {!r}?")
            message = f"must be one of {', '.join(allowed)}; found {errors.shorten(repr(fault['input']), 80)}{guess}"
        elif fault["type"] in _KINDS:
            key = f"{errors.shorten(location[-1], 60)!r} " if location and isinstance(location[-1], str) else ""
            wanted = _KINDS[fault["type"]] + (_ITEMS if _KINDS[fault["type"]] == "a list" else "")
            message = f"{key}must be {wanted}; found {_described(fault['input'])}"
        elif "input" in fault and not isinstance(fault["input"], dict | list):
            message = f"{message[0].lower()}{message[1:]}; found {_described(fault['input'])}"
        if data is not None:
            location = _as_written(location, data, model, missing=fault["type"] == "missing")
        pointer = at + pointers.join(location)
        found.append(Problem(pointer, message, where(pointer) if where is not None else None, pattern))
    return found


def faults_of(error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> list[Any]:
    """The faults of a validation, without those that follow from others: a list is too short because all of its items
    are wrong, a key is missing because it stands there under another name."""
    every = [
        fault
        for fault in error.errors(include_url=False)
        if fault["type"] != _FOLLOWS
        and (fault["type"] != "too_short" or len(fault["input"]) < fault["ctx"]["min_length"])
    ]
    lacking = {fault["loc"] for fault in every if fault["type"] == "missing"}
    unknown = [fault["loc"] for fault in every if fault["type"] == "extra_forbidden"] if lacking else []
    for above, key in ((loc[:-1], str(loc[-1])) for loc in unknown[:SUGGESTED]):
        lacking -= {(*above, meant) for meant in nearest(key, keys_at(model, above))}
    return [fault for fault in every if fault["type"] != "missing" or fault["loc"] in lacking]


def _described(value: Any) -> str:
    """A value in a sentence: what kind it is, or itself when it is small."""
    if isinstance(value, dict | list):
        kind = "a map" if isinstance(value, dict) else "a list"
        return kind if value else f"an empty {kind.removeprefix('a ')}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "nothing" if value is None else errors.shorten(repr(value), 80)


def choices(fault: Any) -> list[str]:
    """The words that an `enum` or `literal_error` of pydantic allows."""
    return _QUOTED.findall(fault["ctx"]["expected"])


def _as_written(
    location: tuple[str | int, ...], data: Any, model: type[pydantic.BaseModel], *, missing: bool
) -> tuple[str | int, ...]:
    """The parts of a location that are in the data: a bare value that stands for a whole object, one value in the
    place of a list and the branches of a union have no part of their own, and a key may have another spelling."""
    written: list[str | int] = []
    present: Any = model
    for number, part in enumerate(location):
        if isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
            written.append(part)
            continue
        spellings: dict[str, str] = getattr(present, "spellings", {})
        if isinstance(data, dict):
            key = part if part in data else next((o for o, new in spellings.items() if new == part and o in data), None)
            if key is not None:
                data = data[key]
                written.append(key)
                field = _field(present, part)
                present = _model_in(field.annotation) if field is not None else None
                continue
            if missing and number == len(location) - 1:
                written.append(part)
    return tuple(written)


def _field(model: Any, key: str | int) -> Any:
    fields = model.model_fields if _is_model(model) else {}
    return next((field for name, field in fields.items() if key in (name, field.alias)), None)


def _meant(model: type[pydantic.BaseModel], location: tuple[str | int, ...]) -> str:
    """What to write instead of an unknown key: as the model there says it, or the nearest of its keys."""
    key, above = str(location[-1]), _model_at(model, location[:-1])
    instead: str | None = getattr(above, "elsewhere", {}).get(key)
    return f"; write {instead}" if instead else suggest(key, keys_at(model, location[:-1]))


def keys_at(model: type[pydantic.BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys that a model allows at a place, as far as plain nesting of models leads there."""
    above = _model_at(model, location)
    return [field.alias or name for name, field in above.model_fields.items()] if above is not None else []


def _model_at(model: type[pydantic.BaseModel], location: tuple[str | int, ...]) -> type[pydantic.BaseModel] | None:
    present: Any = model
    named = False  # the next part is a name that the document chose
    for part in location:
        if isinstance(part, int):
            continue
        if named:
            named = False
            continue
        field = _field(present, part)
        if field is None:
            return None
        named = typing.get_origin(field.annotation) is dict
        present = _model_in(field.annotation)
    return present if _is_model(present) else None


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _model_in(annotation: Any) -> Any:
    """The one model inside an annotation such as `list[Step]` or `Batch | None`."""
    if _is_model(annotation):
        return annotation
    inner = [_model_in(part) for part in getattr(annotation, "__args__", ())]
    return next((part for part in inner if _is_model(part)), None)


def check(document: Document, model: type[M], what: str = "") -> M:
    """The document as a value of `model`; `what` is how faults call it, its kind when left out.

    Raises InvalidDocument with every fault at once, each with pointer, place and what is allowed.
    """
    try:
        return model.model_validate(document.data)
    except pydantic.ValidationError as error:
        problems = problems_of(error, model, document.where, data=document.data)
        raise errors.InvalidDocument(
            f"{document.origin} is not a valid {what or document.kind}: {len(problems)} "
            f"{'fault' if len(problems) == 1 else 'faults'}.",
            errors=problems,
        ) from error
