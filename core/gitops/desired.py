"""From the texts of a manifest's files to documents of one scope: every fault with its place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pydantic

from core import documents, errors, pointers
from core.documents import Document, dump, lint
from core.errors import Problem
from core.gitops.files import File
from core.model.catalog import SLUG_PATTERN, SPELLINGS
from core.model.deployment_document import DeploymentDocument
from core.model.gitops import ContextDocument, Kind, Manifest

ORDER = tuple(Kind)
VERSIONED = (Kind.BLUEPRINT, Kind.PERSPECTIVE, Kind.WORKFLOW)
"""Kinds whose published versions never change."""

_MODELS: dict[Kind, type[pydantic.BaseModel]] = {Kind.DEPLOYMENT: DeploymentDocument, Kind.CONTEXT: ContextDocument}
_BARE = (Kind.JOB, Kind.TRIGGER)  # may come without kind:
_JOB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}")
_DIVIDER = re.compile(r"---(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Written:
    """One document as somebody wrote it; `text` is what the engine keeps of it."""

    kind: Kind
    name: str
    path: str
    text: str
    document: Document


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that shall be there. `data` is what is compared: plain values, complete with defaults."""

    kind: Kind
    name: str
    data: dict[str, Any]
    path: str = ""
    text: str = ""
    version: str = ""  # of a blueprint, perspective or workflow, as it will be

    @property
    def key(self) -> tuple[Kind, str]:
        return self.kind, self.name

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "name": self.name, "data": self.data, "path": self.path}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Item:
        return Item(Kind(data["kind"]), data["name"], data["data"], data["path"])


@dataclass(slots=True)
class Parsed:
    """What the files say, and what is wrong with them so far."""

    written: list[Written] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def of(self, *kinds: Kind) -> list[Written]:
        return [one for one in self.written if one.kind in kinds]


def parse(manifest: Manifest, files: Iterable[File]) -> Parsed:
    """Read every file; look at kinds, names, scope and the shape of deployments and contexts."""
    out = Parsed()
    places: dict[tuple[Kind, str], str] = {}
    for file in files:
        try:
            found = list(_pieces(file))
        except errors.InvalidDocument as error:
            out.problems += error.errors or [Problem("", error.message, f"{file.path}:1:1")]
            continue
        for document, text in found:
            problems = [*_kind(file, document)] or [*_shape(manifest, file.kind, document)]
            name = _name(file.kind, document)
            key = (file.kind, name)
            if not problems and file.kind is not Kind.CONTEXT and key in places:
                what = f"{file.kind.value} {name} is there twice; the other one is at {places[key]}"
                problems.append(Problem("", what, document.where(_name_key(file.kind))))
            out.problems += problems
            if not problems:
                places[key] = document.where("")
                out.written.append(Written(file.kind, name, file.path, text, document))
    out.problems += _twice(out.of(Kind.CONTEXT))
    return out


def _pieces(file: File) -> Iterator[tuple[Document, str]]:
    """The documents of a file, each with its own text; places are those in the file."""
    found = documents.load(file.text, origin=file.path)
    if len(found) == 1:
        yield found[0], file.text
        return
    for document, text in zip(found, _divided(file.text, found), strict=True):
        again = documents.load(text, origin=file.path) if text.strip() else []
        if len(again) == 1 and again[0].data == document.data:
            yield again[0], text.lstrip("\n")
        else:  # written in a way that cannot be cut by lines
            yield document, dump.to_yaml(document.data)


def _divided(text: str, found: Sequence[Document]) -> list[str]:
    """The text of each document behind as many empty lines as stand before it."""
    lines = text.split("\n")
    starts = [int(document.where("").rsplit(":", 2)[1]) - 1 for document in found]
    begins = []
    for start in starts:
        above = [number for number in range(start + 1) if _DIVIDER.match(lines[number])]
        begins.append(above[-1] + 1 if above else 0)
    ends = [begin - 1 for begin in begins[1:]] + [len(lines)]
    return ["\n" * begin + "\n".join(lines[begin:end]) + "\n" for begin, end in zip(begins, ends, strict=True)]


def _kind(file: File, document: Document) -> Iterator[Problem]:
    said = document.data.get("kind", file.kind.value if file.kind in _BARE else None)
    if said is None:
        yield Problem("/kind", f"the key 'kind' is missing; write kind: {file.kind.value}", document.where(""))
    elif said != file.kind.value:
        what = f"the manifest includes this file as {file.kind.value}, and it is a {errors.shorten(str(said), 60)}"
        yield Problem("/kind", what, document.where("/kind"))


def _name_key(kind: Kind) -> str:
    match kind:
        case Kind.JOB | Kind.DEPLOYMENT:
            return "/name"
        case Kind.CONTEXT:
            return ""
        case _:
            return "/slug"


def _name(kind: Kind, document: Document) -> str:
    name = document.data.get(_name_key(kind)[1:], "")
    return name if isinstance(name, str) else ""


def _shape(manifest: Manifest, kind: Kind, document: Document) -> Iterator[Problem]:
    """What is wrong with a document by itself; what needs an engine to be known is looked at there."""
    data, scope, where = document.data, manifest.scope, document.where
    model = _MODELS.get(kind)
    if model is not None:
        try:
            model.model_validate(data)
        except pydantic.ValidationError as error:
            yield from lint.problems_of(error, model, where, data=data)
            return
    elif kind is Kind.JOB:
        if not _JOB_NAME.fullmatch(_name(kind, document)):
            yield Problem("/name", "must be the name of a job: letters, digits and _ . : -", where("/name"))
    elif kind in VERSIONED and not (re.fullmatch(SLUG_PATTERN, name := _name(kind, document)) and len(name) <= 63):
        yield Problem("/slug", f"{SPELLINGS[SLUG_PATTERN]}, at most 63 characters", where("/slug"))
    tenant = {Kind.DEPLOYMENT: "tenant", Kind.TRIGGER: "tenant_id"}.get(kind)
    if tenant and data.get(tenant, "") not in ("", scope.tenant_id):
        what = f"belongs to tenant {errors.shorten(str(data[tenant]), 64)}; this manifest is for {scope.tenant_id}"
        yield Problem(f"/{tenant}", what, where(f"/{tenant}"))
    if kind in (Kind.DEPLOYMENT, Kind.CONTEXT):
        environment = data.get("environment") or ""
        if environment not in ("", scope.environment):
            here = f"for environment {scope.environment}" if scope.environment else "for no environment"
            what = f"belongs to environment {environment}; this manifest is {here}"
            yield Problem("/environment", what, where("/environment"))


def _twice(contexts: Sequence[Written]) -> Iterator[Problem]:
    """Keys of one place that several documents set."""
    places: dict[str, str] = {}
    for one in contexts:
        for name, pointer in context_keys(one.document.data):
            where = one.document.where(pointer)
            if name in places:
                yield Problem(pointer, f"context {name} is set twice; the other one is at {places[name]}", where)
            places.setdefault(name, where)


def context_keys(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The name and the pointer of every value of a context document."""
    level, target = ContextDocument.model_validate(data).place()
    for key in data["values"]:
        yield context_name(level, target, key), "/values" + pointers.join([key])


def context_name(level: str, target: str, key: str) -> str:
    """What one context value is called here, such as environment:dev/region."""
    return f"{level}:{target}/{key}" if target else f"{level}/{key}"


def context_place(name: str) -> tuple[str, str, str]:
    """(level, target, key) of such a name."""
    place, _, key = name.partition("/")
    level, _, target = place.partition(":")
    return level, target, key
