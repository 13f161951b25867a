"""Faults of documents as problems with places, in plain words: what is wrong, what is allowed, what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pydantic

from core import errors
from core.documents.load import Document
from core.errors import Problem

M = TypeVar("M", bound=pydantic.BaseModel)
Where = Callable[[str], str]


def suggest(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean x?)`, or the allowed words when none is close."""
    names = sorted(allowed)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(names)}" if names else ""


def pointer_of(location: Iterable[str | int]) -> str:
    """A pydantic location as a JSON Pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def problems_of(
    error: pydantic.ValidationError, model: type[pydantic.BaseModel], where: Where | None = None, at: str = ""
) -> list[Problem]:
    """Every fault of a validation, with pointer, place and, for an unknown key, what was probably meant."""
    found = []
    for fault in error.errors(include_url=False):
        location = fault["loc"]
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            allowed = _keys_at(model, location[:-1])
            message = f"unknown key {errors.shorten(str(location[-1]), 60)!r}{suggest(str(location[-1]), allowed)}"
        elif fault["type"] == "missing":
            message = f"the key {location[-1]!r} is missing"
        elif "input" in fault and not isinstance(fault["input"], dict | list):
            message = f"{message[0].lower()}{message[1:]}; found {errors.shorten(repr(fault['input']), 80)}"
        pointer = at + pointer_of(location)
        found.append(Problem(pointer, message, where(pointer) if where is not None else None))
    return found


def _keys_at(model: type[pydantic.BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys that a model allows at a place, as far as plain nesting of models leads there."""
    present: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        fields = present.model_fields if _is_model(present) else {}
        field = next((f for name, f in fields.items() if part in (name, f.alias)), None)
        if field is None:
            return []
        present = _model_in(field.annotation)
    return [f.alias or name for name, f in present.model_fields.items()] if _is_model(present) else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _model_in(annotation: Any) -> Any:
    """The one model inside an annotation such as `list[Step]` or `Batch | None`."""
    if _is_model(annotation):
        return annotation
    inner = [_model_in(part) for part in getattr(annotation, "__args__", ())]
    return next((part for part in inner if _is_model(part)), None)


def check(document: Document, model: type[M]) -> M:
    """The document as a value of `model`.

    Raises InvalidDocument with every fault at once, each with pointer, place and what is allowed.
    """
    try:
        return model.model_validate(document.data)
    except pydantic.ValidationError as error:
        problems = problems_of(error, model, document.where)
        raise errors.InvalidDocument(
            f"{document.origin} is not a valid {document.kind}: {len(problems)} "
            f"{'fault' if len(problems) == 1 else 'faults'}.",
            errors=problems,
        ) from error
