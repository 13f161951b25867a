"""A flat graph: what a workflow means once its modules are opened. Plain values, made by `core.catalog.graph`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.model.catalog import Blueprint, Channel, Dispatch, Graph, Step, Workflow
from core.model.plan import Finding

Module = Blueprint | Workflow
Lookup = Callable[[str], Module | None]
"""From "blueprint:SLUG@VERSION" or "workflow:SLUG@VERSION" to the document, None when there is none."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One use of a workflow: where the values of its wizard come from."""

    graph: Graph
    parent: Scope | None = None
    values: Mapping[str, Any] = field(default_factory=dict)  # `with` of the step that uses it, not yet staged
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One step that is bound to a blueprint. The id of a step inside a module is `<outer>.<inner>`.

    A port is in `outs` when it feeds a channel, in `spread` when a dispatch takes its events further.
    """

    id: str
    pointer: str
    step: Step
    ref: str
    blueprint: Blueprint
    scope: Scope
    group: str | None
    replicas: int
    ins: Mapping[str, str]  # port -> channel
    outs: Mapping[str, str]
    spread: Mapping[str, str] = field(default_factory=dict)  # port -> key of Wiring.dispatches


@dataclass(slots=True)
class WiredChannel:
    """A channel with the nodes at its ends."""

    name: str
    definition: Channel
    scope: Scope
    pointer: str
    producers: list[str] = field(default_factory=list)
    consumers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class WiredDispatch:
    """How the events of one step are spread over channels. `sources` are the nodes whose ports lead into it."""

    step: str
    pointer: str
    rule: Dispatch
    outs: Mapping[str, str]  # output -> channel
    sources: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WiredMessage:
    """A message edge between two steps, which may be modules."""

    source: str
    target: str
    tag: str
    pointer: str


@dataclass(slots=True)
class Wiring:
    """A flat graph. When `findings` is not empty it may be incomplete."""

    root: Scope
    nodes: dict[str, Node] = field(default_factory=dict)
    channels: dict[str, WiredChannel] = field(default_factory=dict)
    dispatches: dict[str, WiredDispatch] = field(default_factory=dict)
    messages: list[WiredMessage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
