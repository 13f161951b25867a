"""The graph of a workflow: open its modules, follow its channels, and tell every fault in one pass.

`wire` is what planning, validation and publishing share, so that they cannot disagree about what a graph means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from core.catalog.blueprints import check_blueprint
from core.catalog.cycles import cycles
from core.catalog.items import version_key
from core.catalog.names import duplicates, listed
from core.catalog.wiring import Lookup, Module, Node, Scope, WiredChannel, WiredDispatch, WiredMessage, Wiring
from core.errors import shorten
from core.model.catalog import Channel, Dispatch, Graph, Step, Workflow
from core.model.plan import Finding
from core.near import did_you_mean, nearest

MAX_DEPTH = 8  # modules inside modules
NEAR = 0.4  # how alike a name must be to be told as one of the nearest
GUESSED = 200  # faults of one document that get a guess at what was meant
OUTSIDE = "(outside)"  # the other end of a port of a module that is looked at on its own

Ends = Mapping[tuple[str, str], str]
"""What the ports of a module are bound to: (side, port) -> a channel, or the key of a dispatch."""


def wire(graph: Graph, lookup: Lookup, *, module: bool = False, names: Collection[str] = ()) -> Wiring:
    """Flatten a graph to blueprints and channels, with every fault that can be told without values.

    With `module`, the ports of the graph count as bound. `names` are the references that are there, for guesses.
    """
    walk = _Walk(lookup, Scope(graph), names)
    walk.graph(walk.wiring.root, _Use(ports=walk.open_ports(graph) if module else {}))
    walk.finish()
    return walk.wiring


def references(graph: Graph) -> set[str]:
    """The modules that the steps name; modules of modules are not followed."""
    return {step.use for step in graph.steps if step.use}


@dataclass(frozen=True, slots=True)
class _Use:
    """How a graph is used: under which ids, bound to what, where it runs, and inside which modules."""

    prefix: str = ""
    ports: Ends = field(default_factory=dict)
    group: str | None = None
    replicas: int = 1
    stack: tuple[str, ...] = ()


class _Walk:
    def __init__(self, lookup: Lookup, root: Scope, names: Collection[str]) -> None:
        self.wiring = Wiring(root)
        self._lookup = lookup
        self._names = names
        self._modules: dict[str, Module | None] = {}

    def add(self, code: str, pointer: str, message: str, hint: str = "") -> None:
        self.wiring.findings.append(Finding(code, message, hint, pointer))

    def guess(self, name: str, known: Iterable[str], text: str = " (did you mean {}?)") -> str:
        return did_you_mean(name, known, text) if len(self.wiring.findings) < GUESSED else ""

    def open_ports(self, graph: Graph) -> Ends:
        """A channel for each port, whose other end is outside."""
        bound = {}
        for side, ports in (("in", graph.ports.in_), ("out", graph.ports.out)):
            for index, port in enumerate(ports):
                name = f"{side} port {port}"
                channel = WiredChannel(name, Channel(), self.wiring.root, f"/ports/{side}/{index}")
                (channel.producers if side == "in" else channel.consumers).append(OUTSIDE)
                self.wiring.channels[name] = channel
                bound[side, port] = name
        return bound

    def graph(self, scope: Scope, use: _Use) -> None:
        graph, at = scope.graph, scope.pointer
        for what, key, names in (
            ("step", "id", [step.id for step in graph.steps]),
            ("field", "field", [question.field for question in graph.wizard]),
        ):
            place = "steps" if what == "step" else "wizard"
            for index, name in duplicates(names):
                self.add(
                    f"duplicate_{what}", f"{at}/{place}/{index}/{key}", f"{key} {name} is there twice.", "Rename one."
                )
        for side, ports in (("in", graph.ports.in_), ("out", graph.ports.out)):
            for index, name in duplicates(ports):
                self.add(
                    "duplicate_port", f"{at}/ports/{side}/{index}", f"The port {name} is there twice.", "Keep one."
                )
        for name, definition in graph.channels.items():
            full = use.prefix + name
            self.wiring.channels[full] = WiredChannel(full, definition, scope, f"{at}/channels/{name}")
        for index, step in enumerate(graph.steps):
            self._step(scope, step, f"{at}/steps/{index}", use)
        self._messages(scope, use.prefix)

    def _messages(self, scope: Scope, prefix: str) -> None:
        edges = scope.graph.messages
        known = {step.id for step in scope.graph.steps} if edges else set()
        for index, edge in enumerate(edges):
            pointer = f"{scope.pointer}/messages/{index}"
            self.wiring.messages.append(WiredMessage(prefix + edge.from_, prefix + edge.to, edge.tag, pointer))
            for end, name in (("from", edge.from_), ("to", edge.to)):
                if name not in known:
                    message = f"The message edge names a step {name} that is not there{self.guess(name, known)}."
                    self.add("unknown_step", f"{pointer}/{end}", message, f"Steps: {listed(known)}.")
        for index, _ in duplicates([f"{edge.from_} {edge.to} {edge.tag}" for edge in edges]):
            pointer = f"{scope.pointer}/messages/{index}"
            self.add("duplicate_message", pointer, "The same message edge is there twice.", "Remove one.")

    def _step(self, scope: Scope, step: Step, pointer: str, use: _Use) -> None:
        id = use.prefix + step.id
        if step.use is None:
            hint = (step.slot.hint if step.slot else "") or "Give it a `use`, e.g. blueprint:echo-source@1.0.0."
            self.add("unbound_slot", pointer, f"Step {id} is not bound to a module.", hint)
            self._loose(scope, step, pointer, id, use)
            return
        if step.slot is not None:
            self.add("unbound_slot", f"{pointer}/slot", f"Step {id} has both a slot and a binding.", "Remove the slot.")
        module = self._module(step.use, f"{pointer}/use", id, use.stack)
        if module is None:
            self._loose(scope, step, pointer, id, use)
            return
        ins = self._ends("in", step.in_, module.ports.in_, f"{pointer}/in", id, scope, use)
        group = step.placement.group if step.placement else use.group
        replicas = step.replicas if step.replicas != 1 else use.replicas
        if step.dispatch is None:
            outs = self._ends("out", step.out, module.ports.out, f"{pointer}/out", id, scope, use)
        else:
            outs = self._dispatch(step.dispatch, step, module, pointer, id, scope, use)
        if isinstance(module, Workflow):
            bound = {("in", port): end for port, end in ins.items()}
            bound |= {("out", port): end for port, end in outs.items()}
            inner = Scope(module, scope, step.with_, f"{pointer}/use/{step.use}")
            self.graph(inner, _Use(f"{id}.", bound, group, replicas, (*use.stack, step.use)))
            return
        dispatches = self.wiring.dispatches
        spread = {port: end for port, end in outs.items() if end in dispatches} if dispatches else {}
        plain = {port: end for port, end in outs.items() if port not in spread} if spread else outs
        self.wiring.nodes[id] = Node(id, pointer, step, step.use, module, scope, group, replicas, ins, plain, spread)
        for end in ins.values():
            self.wiring.channels[end].consumers.append(id)
        for end in outs.values():
            self._feed(end, id)

    def _feed(self, end: str, id: str) -> None:
        """Note that a step writes to a channel, or to all channels of a dispatch."""
        if (dispatch := self.wiring.dispatches.get(end)) is not None:
            dispatch.sources.append(id)
            for channel in dispatch.outs.values():
                self.wiring.channels[channel].producers.append(id)
        else:
            self.wiring.channels[end].producers.append(id)

    def _module(self, ref: str, pointer: str, id: str, stack: tuple[str, ...]) -> Module | None:
        if ref in stack or len(stack) >= MAX_DEPTH:
            why = f"uses itself through {' -> '.join((*stack, ref))}" if ref in stack else "is nested too deeply"
            self.add("module_cycle", pointer, f"The module {ref} of step {id} {why}.", "Break the circle.")
            return None
        if ref not in self._modules:
            module = self._modules[ref] = self._lookup(ref)
            if not isinstance(module, Workflow) and module is not None:
                for fault in check_blueprint(module):
                    self.add(fault.code, pointer, f"{ref}: {fault.message}", fault.hint)
        module = self._modules[ref]
        if module is None:
            self._unknown(ref, pointer, id)
        return module

    @cached_property
    def _newest(self) -> dict[str, str]:
        """Of each item that is there (kind:slug) the newest reference."""
        by_version = sorted(self._names, key=lambda ref: version_key(ref.rpartition("@")[2]))
        return {ref.rpartition("@")[0]: ref for ref in by_version}

    def _unknown(self, ref: str, pointer: str, id: str) -> None:
        name, _, version = ref.rpartition("@")
        what, _, slug = name.partition(":")
        versions = [other.rpartition("@")[2] for other in self._names if other.startswith(f"{name}@")]
        if versions:
            message = f"Step {id} uses {ref}, but there is no version {shorten(version, 40)} of {name}."
            self.add("unknown_version", pointer, message, f"Versions: {', '.join(sorted(versions)[-20:])}.")
            return
        newest = self._newest
        same = min((other for other in newest if other.endswith(f":{slug}")), default="")
        kind = f"{what}:"
        alike = {other.removeprefix(kind) for other in newest if other.startswith(kind)}
        meant = same or self.guess(slug, alike, f"{kind}{{}}")
        near = f" (did you mean {newest[meant]}?)" if meant else ""
        message = f"Step {id} uses {ref}, which is not in the catalog{near}."
        close = nearest(slug, alike, 3, NEAR) if not meant and len(self.wiring.findings) < GUESSED else []
        hint = f"Use {newest[meant]}" if meant else "Look for it by what it does"
        hint = f"The nearest: {', '.join(newest[kind + one] for one in close)}" if close else hint
        self.add(f"unknown_{what}", pointer, message, f"{hint}; catalog_search(type={what!r}) lists what there is.")

    def _ends(
        self,
        side: str,
        binding: str | Mapping[str, str] | None,
        declared: tuple[str, ...],
        pointer: str,
        id: str,
        scope: Scope,
        use: _Use,
    ) -> dict[str, str]:
        """Port -> channel (or dispatch) for one side of a step, with the faults of that side."""
        single = isinstance(binding, str)
        if isinstance(binding, str):
            if len(declared) != 1:
                code = "ambiguous_port" if declared else "unknown_port"
                hint = f"Write {side} as a map port -> channel." if declared else f"Remove `{side}`."
                have = ", ".join(declared) or "none"
                self.add(code, pointer, f"Step {id} binds `{side}`; the {side} ports of its module: {have}.", hint)
                self._attach(side, binding, pointer, id, scope, use)
                return {}
            binding = {declared[0]: binding}
        out = {}
        for port, name in (binding or {}).items():
            at = pointer if single else f"{pointer}/{port}"
            end = self._end(side, name, at, scope, use)
            if port not in declared:
                self.add(
                    "unknown_port",
                    at,
                    f"Step {id} binds the {side} port {port}, which its module does not have"
                    f"{self.guess(port, declared)}.",
                    f"Its {side} ports: {', '.join(declared) or 'none'}.",
                )
                if end is not None:  # the channel is not incomplete because of that
                    self._note(side, end, id)
            elif end is not None:
                out[port] = end
        for port in declared:
            if port not in (binding or {}):
                self.add(
                    "unbound_port",
                    pointer,
                    f"The {side} port {port} of step {id} is not bound.",
                    f"Bind it to a channel, e.g. {side}: channel:{port}.",
                )
        return out

    def _dispatch(
        self, rule: Dispatch, step: Step, module: Module, pointer: str, id: str, scope: Scope, use: _Use
    ) -> dict[str, str]:
        """The one out port of a module, spread over named outputs: port -> key of the dispatch."""
        declared = module.ports.out
        outs: dict[str, str] = {}
        for name, binding in (step.out if isinstance(step.out, dict) else {}).items():
            end = self._end("out", binding, f"{pointer}/out/{name}", scope, use)
            if end in self.wiring.dispatches:
                message = f"{binding} is spread further outside, so the events of step {id} would be spread twice."
                self.add("dispatch_twice", f"{pointer}/out/{name}", message, "Put a step between them.")
            elif end is not None:
                outs[name] = end
        if not isinstance(step.out, dict):
            hint = "Write out: {first: channel:a, second: channel:b}."
            self.add("dispatch_without_outputs", f"{pointer}/out", f"Step {id} has a dispatch but no outputs.", hint)
            if step.out is not None:
                self._attach("out", step.out, f"{pointer}/out", id, scope, use)
            return {}
        for code, where, message, hint in dispatch_faults(rule, step.out, id):
            self.add(code, f"{pointer}/dispatch{where}", message, hint)
        if len(declared) != 1:
            have = f"the out ports {', '.join(declared)}" if declared else "no out port"
            hint = "Bind each port by its name, without a dispatch." if declared else "Remove `out` and `dispatch`."
            self.add("dispatch_ports", f"{pointer}/dispatch", f"The module of step {id} has {have}.", hint)
            for end in outs.values():
                self._note("out", end, id)
            return {}
        key = f"{id}>{declared[0]}"
        self.wiring.dispatches[key] = WiredDispatch(id, pointer, rule, outs)
        return {declared[0]: key}

    def _end(self, side: str, binding: str, pointer: str, scope: Scope, use: _Use) -> str | None:
        """The flat name of the channel (or dispatch) that a binding names; a channel is made when it is new."""
        kind, _, name = binding.partition(":")
        if kind == "port":
            return self._port(side, name, pointer, scope, use)
        full = use.prefix + name
        if full not in self.wiring.channels:
            self.wiring.channels[full] = WiredChannel(full, Channel(), scope, pointer)
        return full

    def _port(self, side: str, name: str, pointer: str, scope: Scope, use: _Use) -> str | None:
        bound = use.ports.get((side, name))
        declared = scope.graph.ports.in_ if side == "in" else scope.graph.ports.out
        if bound is None and name not in declared:
            message = f"port:{name} is not an {side} port of this workflow{self.guess(name, declared)}."
            self.add("unknown_port", pointer, message, f"Its {side} ports: {', '.join(declared) or 'none'}.")
        elif bound is None and scope.parent is None:
            self.add(
                "open_port",
                pointer,
                f"port:{name} is an end of a module that is bound to nothing.",
                "Use this workflow as a module in another one, or bind the step to a channel.",
            )
        return bound  # of a module inside: None is told where the module is used

    def _note(self, side: str, end: str, id: str) -> None:
        """Count a step at an end that is not told to be incomplete, whatever is wrong with the step."""
        if side == "out":
            self._feed(end, id)
        else:
            self.wiring.channels[end].consumers.append(id)

    def _attach(self, side: str, binding: str, pointer: str, id: str, scope: Scope, use: _Use) -> None:
        end = self._end(side, binding, pointer, scope, use)
        if end is not None:
            self._note(side, end, id)

    def _loose(self, scope: Scope, step: Step, pointer: str, id: str, use: _Use) -> None:
        """Count the channels of a step whose module is not known, so that they are not told to be incomplete."""
        for binding, side in ((step.in_, "in"), (step.out, "out")):
            if isinstance(binding, str):
                self._attach(side, binding, f"{pointer}/{side}", id, scope, use)
            for port, name in binding.items() if isinstance(binding, dict) else ():
                self._attach(side, name, f"{pointer}/{side}/{port}", id, scope, use)

    def finish(self) -> None:
        for channel in self.wiring.channels.values():
            if not channel.producers and not channel.consumers:
                self.add("unused_channel", channel.pointer, f"No step uses the channel {channel.name}.", "Remove it.")
                continue
            for code, ends, what in (
                ("no_producer", channel.producers, "nothing writes to it; give a step `out: channel:"),
                ("no_consumer", channel.consumers, "nothing reads from it; give a step `in: channel:"),
            ):
                if not ends:
                    clause, _, fix = what.partition("; ")
                    bare = channel.name.rpartition(".")[2]
                    hint = f"{fix[0].upper()}{fix[1:]}{bare}`, or remove the channel."
                    if OUTSIDE in (*channel.producers, *channel.consumers):
                        hint = f"{fix[0].upper()}{fix[1:]}".replace("channel:", f"port:{bare.rpartition(' ')[2]}`.")
                    self.add(code, channel.pointer, f"Channel {channel.name} is incomplete: {clause}.", hint)
        self._check_cycles()

    def _check_cycles(self) -> None:
        nodes = self.wiring.nodes
        before: dict[str, list[str]] = {id: [] for id in nodes}
        for name, channel in self.wiring.channels.items():
            producers = [id for id in channel.producers if id in nodes]
            consumers = [id for id in channel.consumers if id in nodes]
            if len(producers) > 1 and len(consumers) > 1:  # the channel is a node too: as many arrows as ends
                before[f"channel {name}"] = producers
                producers = [f"channel {name}"]
            for id in consumers:
                before[id] += producers
        for circle in cycles(before):
            steps = [id for id in circle if id in nodes]
            path = " -> ".join((*steps[:20], *(["…"] if len(steps) > 20 else []), steps[0]))
            where = nodes[steps[0]].pointer
            self.add("cycle", f"{where}/in", f"The channels form a circle: {path}.", "Events must flow one way.")


def dispatch_faults(rule: Dispatch, outputs: Collection[str], id: str) -> list[tuple[str, str, str, str]]:
    """What is wrong with a dispatch and its outputs: (code, place below the dispatch, message, hint)."""
    found = []
    have = f"Outputs: {', '.join(outputs)}."
    if rule.mode != "conditional":
        for key, value in (("field", rule.field), ("routes", rule.routes), ("default", rule.default)):
            if value:
                message = f"Step {id}: dispatch mode {rule.mode} takes no {key}."
                found.append(("dispatch_setting", f"/{key}", message, "Remove it, or use mode: conditional."))
        return found
    if not rule.field:
        message = f"Step {id}: dispatch mode conditional needs the field that decides."
        found.append(("dispatch_setting", "", message, "Add field: NAME."))
    targets = [(f"/routes/{value}", name) for value, name in rule.routes.items()]
    targets += [("/default", rule.default)] if rule.default is not None else []
    for where, name in targets:
        if name not in outputs:
            message = f"Step {id}: the dispatch leads to the output {name}, which is not there"
            found.append(("unknown_output", where, f"{message}{did_you_mean(name, outputs)}.", have))
    reached = {name for _, name in targets}
    if all(name in outputs for name in reached):
        for name in outputs:
            if name not in reached:
                message = f"Step {id}: no route of the dispatch leads to the output {name}."
                found.append(("unrouted_output", "/routes", message, f"Add a route, or default: {name}."))
    return found
