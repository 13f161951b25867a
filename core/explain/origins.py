"""Which texts of a deployment's source a job is made of, and the settings that stand in them. Pure.

A setting is what somebody chose: a wizard field (of a blueprint: a parameter), a context value, or what the workflow
says itself. Only the outermost workflow is looked at: what a module says within itself has no origin here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.catalog import items
from core.contexts.layers import Given
from core.dsl.language import templates as templates
from core.errors import InvalidDocument
from core.model.catalog import Graph
from core.model.deployment import Job, Role, State

_NAMED = re.compile(r"\{\{\s*(wizard\.)?([A-Za-z_][\w-]*)")


class Kind(StrEnum):
    """Who can change a setting, and how."""

    FIELD = "field"  # whoever plans the deployment, with `values`
    CONTEXT = "context"  # whoever sets context values; a plan takes them
    WORKFLOW = "workflow"  # whoever publishes another version of the source


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that somebody chose. `name` is a field, a key, or a place of the workflow (steps.print.with.path)."""

    kind: Kind
    name: str
    value: Any = field(compare=False)
    level: str = ""  # of a context value
    target: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """A text that a job takes, as it is filled in, and the settings that it is made of."""

    text: str
    settings: tuple[Setting, ...]


def answers(source: items.Entry, values: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each field (or parameter) that has one: given, or else the default."""
    found = {one["field"]: values.get(one["field"], one["default"]) for one in items.wizard(source)}
    return {name: value for name, value in found.items() if value is not None}


def of_job(source: items.Entry, wish: State, job: Job, contexts: Mapping[str, Given]) -> list[Origin]:
    """Every text that the source gives to a job; `contexts` are the context values that the job sees now."""
    given = answers(source, wish.values)
    if not isinstance(source.model, Graph):
        return [
            Origin(templates.text_of(value), (Setting(Kind.FIELD, name, value),))
            for name, value in given.items()
            if job.role is Role.STEP
        ]
    tree = source.model
    offers: dict[str, Setting] = {
        **{name: Setting(Kind.WORKFLOW, f"context.{name}", value) for name, value in tree.context.items()},
        **{name: Setting(Kind.CONTEXT, name, one.value, one.level.value, one.target) for name, one in contexts.items()},
        **{name: Setting(Kind.FIELD, name, value) for name, value in given.items()},
    }
    context = {**{name: one.value for name, one in offers.items()}, "wizard": given}
    found = []
    for place, text in _texts(tree, job):
        try:
            filled = templates.text_of(templates.Prepared(text).fill(context))
        except InvalidDocument:  # it takes what is not there now, so what it was cannot be told
            continue
        named = dict.fromkeys(name for _, name in _NAMED.findall(text))
        taken = tuple(offers[name] for name in named if name in offers)
        found.append(Origin(filled, taken or (Setting(Kind.WORKFLOW, place, text),)))
    return found


def _texts(tree: Graph, job: Job) -> Iterator[tuple[str, str]]:
    """The texts in what the source gives to the step or channel of a job, with their places in the document."""
    if job.role is Role.STEP:
        id = job.step.partition(".")[0]
        given = next((step.with_ for step in tree.steps if step.id == id), {})
        yield from texts(given, f"steps.{id}.with")
    else:
        name = job.origin.partition(" ")[2]
        channel = tree.channels.get(name)
        yield from texts(channel.with_ if channel is not None else {}, f"channels.{name}.with")


def texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with its place: steps.a.with.paths[0]."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from texts(inner, f"{place}[{index}]")
