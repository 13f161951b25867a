"""The graph of a workflow: resolve its modules, follow its channels, and tell every fault in one pass.

`wire` is what planning, validation and publishing share, so that they cannot disagree about what a graph means.
"""

from __future__ import annotations

import difflib
import graphlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from core.errors import shorten
from core.model.catalog import Blueprint, Channel, Graph, Perspective, Ports, Step, Workflow
from core.model.plan import Finding

Lookup = Callable[[str], Blueprint | Workflow | None]
"""From "blueprint:SLUG@VERSION" or "workflow:SLUG@VERSION" to the document, None when there is none."""

MAX_DEPTH = 8  # modules inside modules


@dataclass(frozen=True, slots=True)
class Scope:
    """One use of a workflow: where the values of its wizard come from."""

    graph: Graph
    parent: Scope | None = None
    values: Mapping[str, Any] = field(default_factory=dict)  # `with` of the step that uses it, not yet staged
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One step that is bound to a blueprint. The id of a step inside a module is `<outer>.<inner>`."""

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


@dataclass(slots=True)
class WiredChannel:
    """A channel with the nodes at its ends."""

    name: str
    definition: Channel
    scope: Scope
    pointer: str
    producers: list[str] = field(default_factory=list)
    consumers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WiredMessage:
    """A message edge between two nodes."""

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
    messages: list[WiredMessage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def wire(graph: Graph, lookup: Lookup) -> Wiring:
    """Flatten a graph to blueprints and channels, with every fault that can be told without values."""
    walk = _Walk(lookup, Scope(graph))
    walk.graph(walk.wiring.root, "", {}, None, 1, ())
    walk.finish()
    return walk.wiring


def references(graph: Graph) -> set[str]:
    """The modules that the steps name; modules of modules are not followed."""
    return {step.use for step in graph.steps if step.use}


class _Walk:
    def __init__(self, lookup: Lookup, root: Scope) -> None:
        self.wiring = Wiring(root)
        self._lookup = lookup
        self._modules: dict[str, Blueprint | Workflow | None] = {}

    def add(self, code: str, pointer: str, message: str, hint: str = "") -> None:
        self.wiring.findings.append(Finding(code, message, hint, pointer))

    def graph(
        self,
        scope: Scope,
        prefix: str,
        ports: Mapping[str, str],
        group: str | None,
        replicas: int,
        stack: tuple[str, ...],
    ) -> None:
        graph, at = scope.graph, scope.pointer
        for index, name in duplicates([step.id for step in graph.steps]):
            self.add("duplicate_step", f"{at}/steps/{index}/id", f"The step id {name} is used twice.", "Rename one.")
        for index, name in duplicates([question.field for question in graph.wizard]):
            self.add(
                "duplicate_field", f"{at}/wizard/{index}/field", f"The wizard asks for {name} twice.", "Remove one."
            )
        for name, definition in graph.channels.items():
            pointer = f"{at}/channels/{name}"
            self.wiring.channels[prefix + name] = WiredChannel(prefix + name, definition, scope, pointer)
        for index, step in enumerate(graph.steps):
            pointer = f"{at}/steps/{index}"
            inner_group = step.placement.group if step.placement else group
            inner_replicas = step.replicas if step.replicas != 1 else replicas
            self._step(scope, step, pointer, prefix, ports, inner_group, inner_replicas, stack)
        known = {step.id for step in graph.steps}
        for index, edge in enumerate(graph.messages):
            pointer = f"{at}/messages/{index}"
            self.wiring.messages.append(WiredMessage(prefix + edge.from_, prefix + edge.to, edge.tag, pointer))
            for end, name in (("from", edge.from_), ("to", edge.to)):
                if name not in known:
                    self.add(
                        "unknown_step",
                        f"{pointer}/{end}",
                        f"The message edge names a step {name} that is not there{did_you_mean(name, known)}.",
                        f"Steps: {', '.join(sorted(known))}.",
                    )

    def _step(
        self,
        scope: Scope,
        step: Step,
        pointer: str,
        prefix: str,
        ports: Mapping[str, str],
        group: str | None,
        replicas: int,
        stack: tuple[str, ...],
    ) -> None:
        id = prefix + step.id
        if step.use is None:
            hint = (step.slot.hint if step.slot else "") or "Give it a `use`, e.g. blueprint:echo-source@1.0.0."
            self.add("unbound_slot", pointer, f"Step {id} is not bound to a module.", hint)
            self._loose(step, pointer, prefix, scope, id)
            return
        if step.slot is not None:
            self.add("unbound_slot", f"{pointer}/slot", f"Step {id} has both a slot and a binding.", "Remove the slot.")
        module = self._module(step.use, f"{pointer}/use", id, stack)
        if module is None:
            self._loose(step, pointer, prefix, scope, id)
            return
        ins = self._ends("in", step.in_, module.ports.in_, f"{pointer}/in", id, prefix, ports, scope)
        if step.dispatch is not None:
            self.add(
                "dispatch_unavailable",
                f"{pointer}/dispatch",
                f"Step {id} spreads its events with dispatch mode {step.dispatch.mode}, which is not available yet.",
                "Send everything over one file-store channel and filter in each consumer.",
            )
            self._loose(step, pointer, prefix, scope, id)
            outs: dict[str, str] = {}
        else:
            outs = self._ends("out", step.out, module.ports.out, f"{pointer}/out", id, prefix, ports, scope)
        if isinstance(module, Workflow):
            inner = Scope(module, scope, step.with_, f"{pointer}/use:{step.use}")
            bound = {f"port:{port}": channel for port, channel in (*ins.items(), *outs.items())}
            self.graph(inner, f"{id}.", bound, group, replicas, (*stack, step.use))
            return
        self.wiring.nodes[id] = Node(id, pointer, step, step.use, module, scope, group, replicas, ins, outs)
        for channel in ins.values():
            self.wiring.channels[channel].consumers.append(id)
        for channel in outs.values():
            self.wiring.channels[channel].producers.append(id)

    def _module(self, ref: str, pointer: str, id: str, stack: tuple[str, ...]) -> Blueprint | Workflow | None:
        if ref in stack or len(stack) >= MAX_DEPTH:
            why = f"uses itself through {' -> '.join((*stack, ref))}" if ref in stack else "is nested too deeply"
            self.add("module_cycle", pointer, f"The module {ref} of step {id} {why}.", "Break the circle.")
            return None
        if ref not in self._modules:
            module = self._modules[ref] = self._lookup(ref)
            if isinstance(module, Blueprint):
                for fault in check_blueprint(module):
                    self.add(fault.code, pointer, f"{ref}: {fault.message}", fault.hint)
        module = self._modules[ref]
        if module is None:
            what, _, rest = ref.partition(":")
            slug = rest.rpartition("@")[0]
            self.add(
                f"unknown_{what}",
                pointer,
                f"Step {id} uses {ref}, which is not in the catalog.",
                f"Look for it: catalog_search(query={slug!r}, type={what!r}).",
            )
        return module

    def _ends(
        self,
        side: str,
        binding: str | Mapping[str, str] | None,
        declared: tuple[str, ...],
        pointer: str,
        id: str,
        prefix: str,
        ports: Mapping[str, str],
        scope: Scope,
    ) -> dict[str, str]:
        """Port -> channel for one side of a step, with the faults of that side."""
        have = ", ".join(declared) or "none"
        if isinstance(binding, str):
            if len(declared) != 1:
                code = "ambiguous_port" if declared else "unknown_port"
                hint = f"Write {side} as a map port -> channel." if declared else f"Remove `{side}`."
                self.add(code, pointer, f"Step {id} binds `{side}`; the {side} ports of its module: {have}.", hint)
                self._channel(binding, prefix, ports, pointer, scope)
                return {}
            binding = {declared[0]: binding}
        out = {}
        for port, name in (binding or {}).items():
            channel = self._channel(name, prefix, ports, f"{pointer}/{port}", scope)
            if port not in declared:
                self.add(
                    "unknown_port",
                    f"{pointer}/{port}",
                    f"Step {id} binds the {side} port {port}, which its module does not have.",
                    f"Its {side} ports: {have}.",
                )
            elif channel is not None:
                out[port] = channel
        for port in declared:
            if port not in (binding or {}):
                self.add(
                    "unbound_port",
                    pointer,
                    f"The {side} port {port} of step {id} is not bound.",
                    f"Bind it to a channel, e.g. {side}: channel:{port}.",
                )
        return out

    def _channel(self, binding: str, prefix: str, ports: Mapping[str, str], pointer: str, scope: Scope) -> str | None:
        """The flat name of the channel that a binding names, made when it is new."""
        if binding.startswith("port:"):
            channel = ports.get(binding)
            if channel is None:
                self.add(
                    "open_port",
                    pointer,
                    f"{binding} is an end of a module that is bound to nothing.",
                    "Use this workflow as a module in another one, or bind the step to a channel.",
                )
            return channel
        name = prefix + binding.removeprefix("channel:")
        if name not in self.wiring.channels:
            self.wiring.channels[name] = WiredChannel(name, Channel(), scope, pointer)
        return name

    def _loose(self, step: Step, pointer: str, prefix: str, scope: Scope, id: str) -> None:
        """Count the channels of a step whose module is not known, so that they are not reported as incomplete."""
        for binding, side in ((step.in_, "in"), (step.out, "out")):
            names = [binding] if isinstance(binding, str) else list((binding or {}).values())
            for name in names:
                if name.startswith("channel:"):
                    channel = self._channel(name, prefix, {}, f"{pointer}/{side}", scope)
                    if channel is not None:
                        wired = self.wiring.channels[channel]
                        (wired.consumers if side == "in" else wired.producers).append(id)

    def finish(self) -> None:
        for channel in self.wiring.channels.values():
            for code, ends, what in (
                ("no_producer", channel.producers, "nothing writes to it; give a step `out: channel:"),
                ("no_consumer", channel.consumers, "nothing reads from it; give a step `in: channel:"),
            ):
                if not ends:
                    clause, _, fix = what.partition("; ")
                    bare = channel.name.rpartition(".")[2]
                    hint = f"{fix[0].upper()}{fix[1:]}{bare}`, or remove the channel."
                    self.add(code, channel.pointer, f"Channel {channel.name} is incomplete: {clause}.", hint)
        self._check_cycles()

    def _check_cycles(self) -> None:
        before: dict[str, list[str]] = {id: [] for id in self.wiring.nodes}
        after: dict[str, list[str]] = {id: [] for id in self.wiring.nodes}
        for channel in self.wiring.channels.values():
            for consumer in channel.consumers:
                for producer in channel.producers:
                    if consumer in before and producer in after:
                        before[consumer].append(producer)
                        after[producer].append(consumer)
        waits = {id: len(producers) for id, producers in before.items()}
        ready = [id for id, count in waits.items() if not count]
        for id in ready:  # grows while it is walked (Kahn)
            for consumer in after[id]:
                waits[consumer] -= 1
                if not waits[consumer]:
                    ready.append(consumer)
        if len(ready) == len(before):
            return
        try:  # there is a circle; let the standard library name it
            graphlib.TopologicalSorter(before).prepare()
        except graphlib.CycleError as error:
            path = " -> ".join(reversed(error.args[1]))
            self.add("cycle", "/steps", f"The channels form a circle: {path}.", "Events must flow one way.")


def check_blueprint(blueprint: Blueprint) -> list[Finding]:
    """The faults of a blueprint that its model cannot see: ports, job names, the schema of its parameters."""
    found = [
        Finding("duplicate_job", f"Two jobs are called {name}.", "Rename one.", f"/jobs/{index}/name")
        for index, name in duplicates([str(job.get("name", "")) for job in blueprint.jobs])
    ]
    used: dict[str, Counter[str]] = {"input": Counter(), "output": Counter()}
    for index, job in enumerate(blueprint.jobs):
        for side, ports in (("input", blueprint.ports.in_), ("output", blueprint.ports.out)):
            end = job.get(side)
            if isinstance(end, dict) and "port" in end:
                port = str(end["port"])
                used[side][port] += 1
                if port not in ports:
                    known = ", ".join(ports) or "none"
                    found.append(
                        Finding(
                            "unknown_port",
                            f"The job names the port {shorten(port, 60)}, which the blueprint does not declare.",
                            f"Declared: {known}.",
                            f"/jobs/{index}/{side}/port",
                        )
                    )
    found += [
        Finding(
            "unknown_port",
            f"The in port {port} is read by {used['input'][port]} jobs; it must be exactly one.",
            f"Give one job `input: {{port: {port}}}`.",
            "/ports/in",
        )
        for port in blueprint.ports.in_
        if used["input"][port] != 1
    ]
    found += [
        Finding(
            "unknown_port",
            f"No job writes to the out port {port}.",
            f"Give a job `output: {{port: {port}}}`.",
            "/ports/out",
        )
        for port in blueprint.ports.out
        if not used["output"][port]
    ]
    try:
        jsonschema_rs.validator_for(blueprint.parameters, offline=True)
    except ValueError as error:
        found.append(
            Finding(
                "invalid_schema",
                f"The parameters are not a JSON Schema: {shorten(str(error), 200)}",
                "See https://json-schema.org/understanding-json-schema; remote references are not followed.",
                "/parameters",
            )
        )
    return found


def picture(document: Blueprint | Workflow | Perspective) -> dict[str, list[dict[str, Any]]]:
    """The graph as nodes and edges, for people and programs that draw it."""
    if isinstance(document, Blueprint):
        return _blueprint_picture(document)
    nodes = [
        {
            "id": step.id,
            "use": step.use,
            "slot": step.slot.model_dump() if step.slot else None,
            "group": step.placement.group if step.placement else None,
            "replicas": step.replicas,
        }
        for step in document.steps
    ]
    ends: dict[str, tuple[list[str], list[str]]] = {name: ([], []) for name in document.channels}
    for step in document.steps:
        for binding, side in ((step.out, 0), (step.in_, 1)):
            for name in [binding] if isinstance(binding, str) else list((binding or {}).values()):
                ends.setdefault(name.removeprefix("channel:"), ([], []))[side].append(step.id)
    edges: list[dict[str, Any]] = []
    for name, (producers, consumers) in ends.items():
        transport = document.channels[name].transport.value if name in document.channels else "worker-channel"
        edges += [
            {"kind": "channel", "from": producer, "to": consumer, "channel": name, "transport": transport}
            for producer in producers
            for consumer in consumers
        ]
    edges += [{"kind": "message", "from": edge.from_, "to": edge.to, "tag": edge.tag} for edge in document.messages]
    return {"nodes": nodes, "edges": edges}


def _blueprint_picture(blueprint: Blueprint) -> dict[str, list[dict[str, Any]]]:
    nodes: list[dict[str, Any]] = [{"id": str(job.get("name", "")), "job": True} for job in blueprint.jobs]
    nodes += [{"id": f"port:{port}", "port": side} for side, port in _ports(blueprint.ports)]
    edges: list[dict[str, Any]] = []
    inner: dict[str, tuple[list[str], list[str]]] = {}
    for job in blueprint.jobs:
        name = str(job.get("name", ""))
        for key, side in (("output", 0), ("input", 1)):
            end = job.get(key)
            if not isinstance(end, dict):
                continue
            if "port" in end:
                ends = (name, f"port:{end['port']}") if side == 0 else (f"port:{end['port']}", name)
                edges.append({"kind": "port", "from": ends[0], "to": ends[1]})
            elif "channel" in end:
                inner.setdefault(str(end["channel"]), ([], []))[side].append(name)
    edges += [
        {"kind": "channel", "from": producer, "to": consumer, "channel": name, "transport": "worker-channel"}
        for name, (producers, consumers) in inner.items()
        for producer in producers
        for consumer in consumers
    ]
    return {"nodes": nodes, "edges": edges}


def _ports(ports: Ports) -> list[tuple[str, str]]:
    return [*(("in", port) for port in ports.in_), *(("out", port) for port in ports.out)]


def duplicates(names: Iterable[str]) -> list[tuple[int, str]]:
    """Index and name of every name that has been there before."""
    seen: set[str] = set()
    found = []
    for index, name in enumerate(names):
        if name in seen:
            found.append((index, name))
        seen.add(name)
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""
