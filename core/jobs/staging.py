"""Staging a job document. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from core import documents, errors, near, pointers
from core.contexts.layers import Layers
from core.documents import canonical
from core.dsl.language import compile as compiler
from core.dsl.language import hops, mentions, templates
from core.guard.pathrules import ANYWHERE, Locator
from core.model.secret import Reference

NO_CONTEXTS = Layers()
NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$"


@dataclass(frozen=True, slots=True)
class Staged:
    """A job document that is ready to be deployed: placeholders resolved, checked, canonical."""

    name: str
    text: str  # canonical JSON
    digest: str
    data: dict[str, Any]
    source: str = ""  # canonical JSON of what was written, when it has placeholders: a worker may see other values


def stage(text: str, contexts: Layers = NO_CONTEXTS, origin: str = "<document>", files: Locator = ANYWHERE) -> Staged:
    """Load, resolve `{{}}` and check one job document, wherever it will run; `files` says where files may be.

    A key that only some environment, group or worker gives has the value of one of them here; `resolve` has the last
    word. Raises InvalidDocument with every fault and its place.
    """
    document = _one(text, origin)
    name = document.data.get("name")
    try:
        data = templates.stage(document.data, contexts.example(job=name if isinstance(name, str) else ""))
    except errors.InvalidDocument as error:  # what resolves placeholders sees values, not the text they came from
        missing = (replace(problem, where=document.where(problem.pointer)) for problem in error.errors)
        error.errors = (*missing, *_other_faults(document, files))
        raise
    compiler.check_job(data, where=document.where, files=files)
    data.pop("kind", None)
    body = canonical.canonical(data)
    written = {key: value for key, value in document.data.items() if key != "kind"}
    source = canonical.canonical(written).decode()
    if "{{" not in source:
        return Staged(data["name"], body.decode(), canonical.digest(data), data)
    return Staged(data["name"], body.decode(), canonical.digest([data, written]), data, source)


def _other_faults(document: documents.Document, files: Locator) -> list[errors.Problem]:
    """What is wrong with a document besides its missing keys: nothing is said about values that wait for one."""
    try:
        compiler.check_job(document.data, where=document.where, files=files)
    except errors.InvalidDocument as error:
        return [problem for problem in error.errors if "{{" not in _written_at(document.data, problem.pointer)]
    return []


def _written_at(value: Any, pointer: str) -> str:
    """The value at a JSON Pointer as JSON text; empty where there is none."""
    for key in pointers.split(pointer):
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return ""
    return canonical.canonical(value).decode()


def resolve(
    job: dict[str, Any],
    contexts: Layers,
    *,
    worker: str,
    group: str,
    environment: str,
    files: Locator = ANYWHERE,
) -> dict[str, Any]:
    """The document of a staged job (a row of the table jobs) as one worker runs it.

    Raises InvalidDocument when a key has no value there, or one that does not fit.
    """
    context = contexts.resolve(job=job["name"], worker=worker, group=group, environment=environment)
    try:
        data: dict[str, Any] = orjson.loads(job["document"])
        if job["source"]:
            data = templates.stage(orjson.loads(job["source"]), context)
        compiler.check_job(data, files=files)
    except errors.InvalidDocument as error:
        error.message = f"On worker {worker}: {error.message}"
        raise
    return data


def check_secrets(document: dict[str, Any], missing: Callable[[Iterable[Reference]], list[str]]) -> None:
    """Refuse a document that names secrets which are not set. Raises InvalidDocument with each name and its place."""
    named = mentions.secrets(document)
    absent = missing(named)
    if absent:
        raise errors.InvalidDocument(
            f"The job needs secrets that are not set: {', '.join(absent)}.",
            hint=f"An admin sets each of them: sluice secret set {absent[0]}",
            errors=[
                errors.Problem(at, f"missing secret {one.secret}") for one, at in named.items() if one.secret in absent
            ],
        )


def plain(text: str, origin: str = "<document>") -> dict[str, Any]:
    """What one job document says, unchecked. Raises InvalidDocument when it cannot be read."""
    return {key: value for key, value in _one(text, origin).data.items() if key != "kind"}


def _one(text: str, origin: str) -> documents.Document:
    found = documents.load(text, origin=origin)
    if len(found) != 1 or found[0].kind != "job":
        kinds = ", ".join(document.kind for document in found) or "nothing"
        guess = near.did_you_mean(kinds, ["job"], "; did you mean {}?")
        raise errors.InvalidDocument(
            f"Expected one job document, found {errors.shorten(kinds, 200)}{guess or '.'}",
            hint="A job has the keys name, input, actions and output.",
        )
    return found[0]


def name_of(text: str) -> str:
    """The name that a draft is kept under, whatever else is wrong with it.

    Raises InvalidDocument for a text that cannot be read or has no usable name.
    """
    name = plain(text).get("name")
    if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
        raise errors.InvalidDocument(
            "A draft needs a name, and this one has none that can be used.",
            hint="Use letters, digits and _ . : - (at most 200).",
            errors=[errors.Problem("/name", "is missing or not a name")],
        )
    return name


def waits_for_messages(document: str) -> bool:
    """Whether a staged job (JSON text) does nothing until a message comes."""
    return compiler.starts(document).filter is not None


def shared(document: dict[str, Any]) -> list[str]:
    """What a copy of a job has in common with the original when both run."""
    found = [f"both use the worker channel {name}: events are divided between them" for name in channels(document)]
    for end, part in (("read", document.get("input")), ("write", document.get("output"))):
        options = next(iter(part.values()), None) if isinstance(part, dict) else None
        path = options.get("path") if isinstance(options, dict) else None
        if isinstance(path, str):
            found.append(f"both {end} {errors.shorten(path, 100)}")
    if (source := document.get("input")) and (tag := _message_tag(source)):
        found.append(f"both run on messages tagged {errors.shorten(tag, 100)}")
    return sorted(found)


def _message_tag(source: Any) -> str:
    options = next(iter(source.values()), None) if isinstance(source, dict) else None
    trigger = options.get("trigger") if isinstance(options, dict) else None
    message = trigger.get("message") if isinstance(trigger, dict) else None
    tag = message.get("filter-tag") if isinstance(message, dict) else None
    return tag if isinstance(tag, str) else ""


def channels(document: dict[str, Any]) -> set[str]:
    """The worker channels at the ends of a job document."""
    return {hops.reads(document), *hops.writes(document)} - {""}
