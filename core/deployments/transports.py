"""How events move along the channels of a deployment: binds the ports of jobs and adds the adapter jobs.

A worker-channel joins its jobs directly, so they share a worker; of several consumers each gets every event. A
durable channel becomes, for each producer, a writer that takes its events to objects or a stream, and for each consumer
a reader that brings them back; only the pair of a step and its own adapter shares a worker, and what lies between is
durable.
A dispatch is the output of its step: no job of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.catalog import wiring
from core.deployments import draft as drafting
from core.deployments import message_edges, spool, streams
from core.deployments.draft import Draft, Ends, Hop
from core.deployments.spool import Spool
from core.model import deployment
from core.model.catalog import Transport
from core.model.deployment import Role
from core.model.plan import Finding

DURABLE = frozenset({Transport.FILE_STORE, Transport.OBJECT_STORE, Transport.JETSTREAM})
STANDARD = "standard"  # the driver of a worker-channel whose consumers share its events


@dataclass(slots=True)
class Woven:
    """Jobs with concrete ends, in the order of the data: reader, step, writer."""

    drafts: list[Draft] = field(default_factory=list)
    channels: dict[str, deployment.Channel] = field(default_factory=dict)
    together: list[tuple[str, ...]] = field(default_factory=list)
    blockers: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def weave(
    drafts: Iterable[Draft],
    wired: wiring.Wiring,
    options: Mapping[str, Mapping[str, Any]],
    tenant: str,
    name: str,
    *,
    complete: bool = True,
    nats: bool = True,
) -> Woven:
    """Bind every port and inner channel, and wire the message edges.

    `options` are the staged settings of each channel; unless `complete`, some of them are missing for a reason that
    is told already. `nats`: whether the engine knows a NATS server.
    """
    weaver = _Weaver(wired, options, tenant, name)
    for draft in drafts:
        weaver.add(draft)
    message_edges.connect(weaver, wired.messages)
    return weaver.finish(complete, nats)


class _Weaver:
    def __init__(
        self, wired: wiring.Wiring, options: Mapping[str, Mapping[str, Any]], tenant: str, deployment: str
    ) -> None:
        self.out = Woven()
        self.drafts: dict[str, Draft] = {}
        self.ends: dict[str, Ends] = {name: Ends() for name in wired.channels}
        self._channels = wired.channels
        self._dispatches = wired.dispatches
        # An empty text is what a wizard field without an answer leaves: the setting is not given.
        self._options = {
            name: {k: v for k, v in given.items() if v != ""} if given else given for name, given in options.items()
        }
        self._deployment = deployment
        self._namespace = f"{tenant}/{deployment}"
        self._hops: dict[str, Hop] = {}
        self._near: list[tuple[str, str]] = []  # pairs that share a worker without a hop between them
        self._stores: dict[str, Spool | streams.Stream | None] = {}

    def block(self, code: str, message: str, hint: str, pointer: str) -> None:
        self.out.blockers.append(Finding(code, message, hint, pointer))

    # -- ports ---------------------------------------------------------------------------------------------

    def add(self, draft: Draft) -> None:
        """Bind both ends of a job, with the adapters that its channels need."""
        before = self._bind_input(draft)
        after = self._bind_output(draft, before[0].replicas if before else draft.replicas)
        for one in (*before, draft, *after):
            self.keep(one)

    def keep(self, draft: Draft) -> None:
        """Take one more job in."""
        if draft.name in self.drafts:
            self.block("duplicate_job", f"Two jobs would be called {draft.name}.", "Rename one.", draft.pointer)
        else:
            self.drafts[draft.name] = draft

    def _bind_input(self, draft: Draft) -> list[Draft]:
        end = draft.document.get("input")
        if not isinstance(end, dict) or not ("port" in end or "channel" in end):
            return []
        adapters: list[Draft] = []
        channel = draft.ins.get(str(end["port"])) if "port" in end else None
        if channel is None:
            hop = self._inner(draft, end)
        else:
            self.ends[channel].consumers.append(draft)
            hop = self.hop(channel)
            if (store := self._store(channel)) is not None:
                # A stream is shared by its readers; the objects of a spool have one that remembers what it has read.
                replicas = draft.replicas if isinstance(store, streams.Stream) else 1
                reader = self._adapter(draft, channel, Role.READER, replicas)
                hop = self.hop(channel, reader.name)
                reader.document = {"output": {"worker-channel": {"channel": hop}}}  # its input: when all are known
                self.hop_at(hop).writers.append(reader.name)
                self.ends[channel].readers.append(reader)
                adapters.append(reader)
        self.hop_at(hop).readers.append(draft.name)
        draft.document = {**draft.document, "input": {"worker-channel": {"channel": hop}}}
        return adapters

    def _bind_output(self, draft: Draft, replicas: int) -> list[Draft]:
        end = draft.document.get("output")
        if not isinstance(end, dict) or not ("port" in end or "channel" in end):
            return []
        adapters: dict[str, Draft] = {}
        port = str(end["port"]) if "port" in end else ""
        for channel in self.fed_by(draft, port):
            self.ends[channel].producers.append(draft)
        if (key := draft.spread.get(port)) is not None:
            rule, outs = self._dispatches[key].rule, self._dispatches[key].outs
            config: dict[str, Any] = {
                "mode": rule.mode,
                "outputs": {name: self._feed(draft, channel, adapters, replicas) for name, channel in outs.items()},
            }
            if rule.mode == "conditional":
                config |= {"field": rule.field, "routes": dict(rule.routes)}
                config |= {"default": rule.default} if rule.default is not None else {}
            output: dict[str, Any] = {"dispatch": config}
        elif port in draft.outs:
            output = {"worker-channel": {"channel": self._feed(draft, draft.outs[port], adapters, replicas)}}
        else:
            hop = self._inner(draft, end)
            self.hop_at(hop).writers.append(draft.name)
            output = {"worker-channel": {"channel": hop}}
        draft.document = {**draft.document, "output": output}
        return list(adapters.values())

    def fed_by(self, draft: Draft, port: str) -> Iterable[str]:
        """The channels to which a port of a job leads."""
        if port in draft.spread:
            return dict.fromkeys(self._dispatches[draft.spread[port]].outs.values())
        return [draft.outs[port]] if port in draft.outs else []

    def _feed(self, draft: Draft, channel: str, adapters: dict[str, Draft], replicas: int) -> str:
        """The hop that takes the events of a job to a channel; the writer of a durable one is added to `adapters`."""
        store = self._store(channel)
        if store is None:
            hop = self.hop(channel)
        else:
            writer = adapters.get(channel)
            if writer is None:
                writer = adapters[channel] = self._adapter(draft, channel, Role.WRITER, replicas)
                hop = self.hop(channel, writer.name)
                writer.document = {"input": {"worker-channel": {"channel": hop}}, "output": store.output()}
                self.hop_at(hop).readers.append(writer.name)
            hop = self.hop(channel, writer.name)
        self.hop_at(hop).writers.append(draft.name)
        return hop

    def _adapter(self, draft: Draft, channel: str, role: Role, replicas: int) -> Draft:
        name = drafting.bounded(f"{draft.name}--{channel.replace('.', '--')}-{role.value}")
        return replace(draft, name=name, role=role, origin=f"channel {channel}", replicas=replicas, document={})

    # -- places --------------------------------------------------------------------------------------------

    def hop(self, channel: str, adapter: str = "") -> str:
        """The name of the worker channel of an edge, or of the one between a job and its adapter."""
        return self._name(f"{channel}/{adapter}" if adapter else channel)

    def _inner(self, draft: Draft, end: Mapping[str, Any]) -> str:
        return self._name(f"{draft.step}:{end.get('channel', end.get('port'))}")

    def _name(self, rest: str) -> str:
        return f"{self._namespace}/{drafting.bounded(rest)}"

    def hop_at(self, name: str) -> Hop:
        return self._hops.setdefault(name, Hop())

    def near(self, one: str, other: str) -> None:
        """Two jobs have to share a worker: they use one disk."""
        self._near.append((one, other))

    def spool(self, channel: str) -> Spool | None:
        """How a durable channel is stored as objects; None for others."""
        store = self._store(channel)
        return store if isinstance(store, Spool) else None

    def _store(self, channel: str) -> Spool | streams.Stream | None:
        """What lies between the two sides of a durable channel; None for others."""
        if channel not in self._stores:
            transport, options = self._channels[channel].definition.transport, self._options[channel]
            self._stores[channel] = (
                streams.of(options, self._deployment, channel)
                if transport is Transport.JETSTREAM
                else spool.of(transport, options, f"{self._namespace}/{drafting.bounded(channel)}")
            )
        return self._stores[channel]

    # -- the whole -----------------------------------------------------------------------------------------

    def finish(self, complete: bool, nats: bool) -> Woven:
        self.out.drafts = list(self.drafts.values())
        for name, channel in self._channels.items():
            ends = self.ends[name]
            transport = channel.definition.transport
            self.out.channels[name] = deployment.Channel(
                name,
                transport.value,
                self._options[name],
                tuple(dict.fromkeys(draft.step for draft in ends.producers)),
                tuple(dict.fromkeys(draft.step for draft in ends.consumers)),
            )
            if transport is Transport.JETSTREAM and not nats:
                self.block(
                    "transport_unavailable",
                    f"Channel {name} uses the transport {transport}, and the setting nats names no NATS server.",
                    "Start the engine with --nats nats://HOST:PORT (SLUICE_NATS), or use file-store or object-store.",
                    f"{channel.pointer}/transport",
                )
            options = self._options[name]
            if options or transport in DURABLE:
                self.out.blockers += spool.check(name, transport, options, channel.pointer, complete=complete)
            if transport in DURABLE:
                self._read(name, ends)
                self._warn(name, channel, ends)
            elif options.get("driver") == STANDARD:
                self.hop_at(self.hop(name)).shared = True
        self._clone()
        self.out.together = self._join()
        self._check_groups()
        return self.out

    def _read(self, channel: str, ends: Ends) -> None:
        """Give the readers of a durable channel their input: each has to know of the others."""
        store = self._store(channel)
        assert store is not None
        names = [reader.name for reader in ends.readers]
        for draft in ends.readers:
            ((component, config),) = store.input(names).items()
            woken = draft.document.get("input", {})
            draft.document = {"input": {component: {**config, **woken}}, "output": draft.document["output"]}

    def _warn(self, name: str, channel: wiring.WiredChannel, ends: Ends) -> None:
        for draft in ends.consumers:
            if draft.replicas > 1 and self.spool(name) is not None:
                self.out.warnings.append(
                    Finding(
                        "shared_reader",
                        f"The {draft.replicas} replicas of {draft.step} share one worker, because one reader brings"
                        f" them the events of channel {name}.",
                        "Put a step with one replica before it, or accept it: no event is read twice.",
                        draft.pointer,
                    )
                )
        groups = sorted({draft.group for draft in (*ends.producers, *ends.consumers)})
        if len(groups) > 1 and channel.definition.transport is Transport.FILE_STORE:
            self.out.warnings.append(
                Finding(
                    "shared_path_needed",
                    f"Channel {name} writes and reads files in several worker groups ({', '.join(groups)}).",
                    "Its path must be on storage that all of them share.",
                    channel.pointer,
                )
            )

    def _clone(self) -> None:
        """Give every reader of a hop that several jobs read all of its events."""
        for name, hop in self._hops.items():
            if len(hop.readers) < 2 or hop.shared:
                continue
            for reader in hop.readers:
                draft = self.drafts[reader]
                draft.document = {**draft.document, "input": {"worker-channel": {"channel": name, "driver": "clone"}}}

    def _join(self) -> list[tuple[str, ...]]:
        """The sets of jobs that have to share a worker, in the order of the jobs (union-find)."""
        parent = {name: name for name in self.drafts}

        def find(one: str) -> str:
            while parent[one] != one:
                parent[one] = parent[parent[one]]
                one = parent[one]
            return one

        for hop in self._hops.values():
            if hop.writers and hop.readers:
                first = find(hop.writers[0])
                for other in (*hop.writers[1:], *hop.readers):
                    parent[find(other)] = first
        for one, other in self._near:
            parent[find(other)] = find(one)
        sets: dict[str, list[str]] = {}
        for name in self.drafts:
            sets.setdefault(find(name), []).append(name)
        return [tuple(members) for members in sets.values()]

    def _check_groups(self) -> None:
        for members in self.out.together:
            groups: dict[str, list[str]] = {}
            for member in members:
                draft = self.drafts[member]
                if draft.role is Role.STEP:
                    groups.setdefault(draft.group, []).append(draft.step)
            if len(groups) > 1:
                places = "; ".join(f"{', '.join(dict.fromkeys(steps))} in {group}" for group, steps in groups.items())
                self.block(
                    "split_worker_channel",
                    f"Steps that share a worker-channel are placed in different worker groups: {places}.",
                    "Place them in one group, or use transport: file-store between them.",
                    self.drafts[members[0]].pointer,
                )
