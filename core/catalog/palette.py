"""What a workflow can be built of: what the language itself has, and the modules that a step may use. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import orjson

from core import errors
from core.catalog import items
from core.catalog.items import Entry, Listed
from core.catalog.ranking import Ranking
from core.model.catalog import Blueprint, Transport, Workflow
from core.model.transport import OPTIONS

if TYPE_CHECKING:
    from core.model.results import catalog, workflows

Part = Literal["source", "transform", "sink", "whole"]
"""Where a module stands: with no open port that is fed, with both, with none that feeds, with none at all."""
SUMMARY = 110  # characters of a row
DEFAULT = 40  # of a default


@dataclass(frozen=True, slots=True)
class Builtin:
    """One thing that the language has. `write` is how it stands in a document; empty for what nobody writes."""

    name: str
    kind: Literal["transport", "dispatch", "messages", "step", "workflow"]
    does: str
    write: str

    def row(self) -> catalog.Builtin:
        """As answers show it; the settings of a transport with `?` where they may be left out."""
        options = OPTIONS[Transport(self.name)] if self.kind == "transport" else {}
        settings = [name + ("" if option.required else "?") for name, option in options.items()]
        row: catalog.Builtin = {"name": self.name, "kind": self.kind, "does": self.does, "write": self.write}
        return {**row, "settings": settings} if settings else row


BUILTINS: tuple[Builtin, ...] = (
    Builtin(
        "worker-channel",
        "transport",
        "A channel in memory, between jobs of one worker, and lost with it; what every unlisted channel is.",
        "channels: {events: {transport: worker-channel}}",
    ),
    Builtin(
        "file-store",
        "transport",
        "A channel that is a durable spool of files on the worker's host.",
        "channels: {events: {transport: file-store, with: {path: spool}}}",
    ),
    Builtin(
        "object-store",
        "transport",
        "The same in a bucket (s3, gcs, azure-blob).",
        "channels: {events: {transport: object-store, with: {bucket-name: spool, store: s3}}}",
    ),
    Builtin(
        "jetstream",
        "transport",
        "A channel that is a durable stream between machines, over NATS.",
        "channels: {events: {transport: jetstream}}",
    ),
    Builtin(
        "clone",
        "dispatch",
        "Each output of the step gets a copy of every event.",
        "out: {a: channel:a, b: channel:b}, dispatch: {mode: clone}",
    ),
    Builtin(
        "round-robin",
        "dispatch",
        "The outputs of the step take turns.",
        "out: {a: channel:a, b: channel:b}, dispatch: {mode: round-robin}",
    ),
    Builtin(
        "conditional",
        "dispatch",
        "A field of the event decides; without default, other events are errors.",
        "out: {a: channel:a, b: channel:b}, dispatch: {mode: conditional, field: level, routes: {bad: a}, default: b}",
    ),
    Builtin(
        "message edge",
        "messages",
        "A step wakes another one, whose input waits for messages or reads a durable channel.",
        "messages: [{from: first, to: last, tag: written}]",
    ),
    Builtin(
        "relay",
        "messages",
        "The job that a plan adds for a message edge whose source sends no messages itself.",
        "",
    ),
    Builtin(
        "slot",
        "step",
        "A step that is left open, in a perspective or a draft.",
        "slot: {accepts: blueprint, hint: What would be good.}",
    ),
    Builtin(
        "port",
        "workflow",
        "An end of a workflow that others use as a module; a step binds it as port:NAME.",
        "ports: {in: [events]}",
    ),
)


def modules(listed: Sequence[Listed], part: Part | None = None, query: str = "") -> list[catalog.Module]:
    """The newest version of each blueprint, and of each workflow with ports, as rows: in the order of events, or the
    best match of the query first, with what each `lacks` and its parameters in full."""
    able = [one for one in listed if isinstance(one, Entry) and _part(one) and part in (None, _part(one))]
    if query.strip():
        ranked = Ranking(able).rank(query)
        return [_row(able[fit.place], in_full=True, lacks=list(fit.lacks)) for fit in ranked]
    able.sort(key=lambda one: (("source", "transform", "sink", "whole").index(_part(one) or "whole"), one.slug))
    return list(map(_row, able))


def _part(one: Entry) -> Part | None:
    """Where a module stands; None for what is none."""
    model = one.model
    if not isinstance(model, Blueprint | Workflow):
        return None
    match bool(model.ports.in_), bool(model.ports.out):
        case True, True:
            return "transform"
        case True, False:
            return "sink"
        case False, True:
            return "source"
    return "whole" if isinstance(model, Blueprint) else None


def parameter(question: workflows.WizardField) -> str:
    """A parameter in full: `path (string)`, `event? (string, default {})`."""
    said = ", ".join((question["type"], *(() if items.must(question) else (f"default {_default(question)}",))))
    return f"{question['field']}{'' if items.must(question) else '?'} ({said})"


def _default(question: workflows.WizardField) -> str:
    value = question["default"]
    text = value if isinstance(value, str) and value else orjson.dumps(value, default=str).decode()
    return "none" if value is None else errors.shorten(text, DEFAULT)


def _row(one: Entry, *, in_full: bool = False, lacks: Sequence[str] = ()) -> catalog.Module:
    model = one.model
    ports = model.ports if isinstance(model, Blueprint | Workflow) else None
    needs = [*model.requires.secrets, *model.requires.features] if isinstance(model, Blueprint) else []
    row: catalog.Module = {"use": one.ref, "part": _part(one) or "whole"}
    if one.summary:
        row["does"] = errors.shorten(one.summary, SUMMARY)
    if ports is not None and ports.in_ not in ((), ("in",)):
        row["in"] = list(ports.in_)
    if ports is not None and ports.out not in ((), ("out",)):
        row["out"] = list(ports.out)
    if asked := items.wizard(one):
        row["with"] = [
            parameter(question) if in_full else question["field"] + ("" if items.must(question) else "?")
            for question in asked
        ]
    if needs:
        row["needs"] = needs
    if lacks:
        row["lacks"] = list(lacks)
    return row
