"""How events move along the channels of a deployment: binds the ports of jobs and adds the adapter jobs.

A worker-channel joins its jobs directly, so they share a worker. A file-store channel becomes, for each producer, a
writer that takes its events to files, and for each consumer a reader that brings the files back as events; only the
pair of a step and its own adapter shares a worker, and what lies between them is durable. A message edge makes its
target listen for a tag; a relay behind the source emits it for each new file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.catalog import names, wiring
from core.errors import shorten
from core.model import deployment
from core.model.catalog import Transport
from core.model.deployment import Role
from core.model.plan import Finding

FILE_STORE_OPTIONS = ("path", "guid-prefix", "batch-size", "batch-timeout", "interval", "gzip")
DEFAULT_INTERVAL = "1s"


@dataclass(slots=True)
class Draft:
    """A job whose ends may still be ports. `ins` and `outs` map ports to channels."""

    name: str
    step: str
    role: Role
    origin: str
    group: str
    replicas: int
    document: dict[str, Any]
    ins: Mapping[str, str] = field(default_factory=dict)
    outs: Mapping[str, str] = field(default_factory=dict)
    pointer: str = ""


@dataclass(slots=True)
class Woven:
    """Jobs with concrete ends, in the order of the data: reader, step, writer."""

    drafts: list[Draft] = field(default_factory=list)
    channels: dict[str, deployment.Channel] = field(default_factory=dict)
    together: list[tuple[str, ...]] = field(default_factory=list)
    blockers: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def weave(
    drafts: list[Draft],
    channels: Mapping[str, wiring.WiredChannel],
    options: Mapping[str, Mapping[str, Any]],
    messages: Sequence[wiring.WiredMessage],
    tenant: str,
    name: str,
) -> Woven:
    """Bind every port and inner channel; `options` are the staged settings of each channel."""
    weaver = _Weaver(channels, options, f"{tenant}/{name}")
    for draft in drafts:
        weaver.add(draft)
    for edge in messages:
        weaver.connect(edge)
    return weaver.finish()


class _Weaver:
    def __init__(
        self,
        channels: Mapping[str, wiring.WiredChannel],
        options: Mapping[str, Mapping[str, Any]],
        namespace: str,
    ) -> None:
        self.out = Woven()
        self._channels = channels
        self._options = options
        self._namespace = namespace
        self._hops: dict[str, list[str]] = {}  # worker channel -> the jobs that hold an end of it
        self._ends: dict[str, tuple[list[Draft], list[Draft]]] = {name: ([], []) for name in channels}
        self._drafts: dict[str, Draft] = {}

    def add(self, draft: Draft) -> None:
        before: Draft | None = None
        after: Draft | None = None
        document = draft.document
        end = document.get("input")
        if isinstance(end, dict) and ("port" in end or "channel" in end):
            channel = draft.ins.get(str(end["port"])) if "port" in end else None
            if channel is not None:
                self._ends[channel][1].append(draft)
                before = self._reader(channel, draft)
            bound = self._bind(draft, end, channel, before)
            document = {**document, "input": {"worker-channel": {"channel": bound}}}
        end = document.get("output")
        if isinstance(end, dict) and ("port" in end or "channel" in end):
            channel = draft.outs.get(str(end["port"])) if "port" in end else None
            if channel is not None:
                self._ends[channel][0].append(draft)
                after = self._writer(channel, draft)
            bound = self._bind(draft, end, channel, after)
            document = {**document, "output": {"worker-channel": {"channel": bound}}}
        draft.document = document
        for one in (before, draft, after):
            if one is not None and one.name in self._drafts:
                self._block("duplicate_job", f"Two jobs would be called {one.name}.", "Rename one.", one.pointer)
            elif one is not None:
                self._drafts[one.name] = one

    def _bind(self, draft: Draft, end: dict[str, Any], channel: str | None, adapter: Draft | None) -> str:
        """The worker channel for one end of a job: of the edge, of its adapter, or inside its blueprint."""
        if adapter is not None:
            name = f"{self._namespace}/{channel}/{adapter.name}"
            self._hops.setdefault(name, []).append(adapter.name)
        elif channel is not None:
            name = f"{self._namespace}/{channel}"
        else:
            name = f"{self._namespace}/{draft.step}:{end.get('channel', end.get('port'))}"
        self._hops.setdefault(name, []).append(draft.name)
        return name

    def _spool(self, channel: str) -> dict[str, Any] | None:
        if self._channels[channel].definition.transport is not Transport.FILE_STORE:
            return None
        return dict(self._options[channel])

    def _object_prefix(self, channel: str) -> str:
        """Where the files of this channel lie below the path, so that channels that share a path do not mix."""
        return f"{self._namespace.partition('/')[2]}/{channel}/"

    def _writer(self, channel: str, draft: Draft) -> Draft | None:
        options = self._spool(channel)
        if options is None:
            return None
        prefix = str(options.get("guid-prefix", ""))
        gzip = bool(options.get("gzip"))
        output: dict[str, Any] = {
            "path": str(options.get("path", "")),
            "object-name": {"name": self._object_prefix(channel)},
            "guid-prefix": f"{prefix}-" if prefix else "",
            "guid-suffix": ".json.gz" if gzip else ".json",
            "batch": {
                "mode": "fixed",
                "fixed-size": options.get("batch-size", 1000),
                "timeout": options.get("batch-timeout", DEFAULT_INTERVAL),
            },
        }
        if gzip:
            output["preprocessors"] = ["gzip"]
        name = f"{draft.name}--{channel.replace('.', '--')}-writer"
        hop = f"{self._namespace}/{channel}/{name}"
        document = {"input": {"worker-channel": {"channel": hop}}, "output": {"file-store": output}}
        return replace(draft, name=name, role=Role.WRITER, origin=f"channel {channel}", document=document)

    def _reader(self, channel: str, draft: Draft) -> Draft | None:
        options = self._spool(channel)
        if options is None:
            return None
        source: dict[str, Any] = {
            "path": str(options.get("path", "")),
            "object-names": [self._object_prefix(channel)],
            "json": True,
            "fingerprinting": True,
            "trigger": {"interval": {"duration": options.get("interval", DEFAULT_INTERVAL)}},
        }
        if options.get("gzip"):
            source["preprocessors"] = ["gzip"]
        name = f"{draft.name}--{channel.replace('.', '--')}-reader"
        hop = f"{self._namespace}/{channel}/{name}"
        document = {"input": {"file-store": source}, "output": {"worker-channel": {"channel": hop}}}
        return replace(draft, name=name, role=Role.READER, origin=f"channel {channel}", document=document)

    def connect(self, edge: wiring.WiredMessage) -> None:
        """Compile a message edge: the source emits the tag, the target's input waits for it."""
        emitter = self._emitter(edge)
        if emitter is None:
            self._block(
                "message_edge_unsupported",
                f"Step {edge.source} cannot emit {edge.tag}: its output is neither a file-store channel nor a message.",
                "Send its events over a file-store channel, or end the step with output: {message: {tag: ...}}.",
                f"{edge.pointer}/from",
            )
            return
        heard = {
            "filter-kind": "user",
            "filter-type": ["user-generated"],
            "filter-tag": edge.tag,
            "filter-job": emitter,
        }
        listeners = [one for one in self._of(edge.target) if _polls(one)]
        if not listeners:
            self._block(
                "message_edge_unsupported",
                f"Step {edge.target} cannot wait for {edge.tag}: its input has no trigger.",
                "Feed it over a file-store channel, or begin the step with an input that takes a trigger.",
                f"{edge.pointer}/to",
            )
        for one in listeners:
            ((component, config),) = one.document["input"].items()
            triggered = {**(config if isinstance(config, dict) else {}), "trigger": {"message": heard}}
            self._drafts[one.name] = replace(one, document={**one.document, "input": {component: triggered}})

    def _emitter(self, edge: wiring.WiredMessage) -> str | None:
        """The job that emits the tag of an edge; a relay is added behind a writer."""
        for one in self._of(edge.source):
            output = one.document.get("output")
            if not isinstance(output, dict):
                continue
            if one.role is Role.STEP and isinstance(message := output.get("message"), dict):
                if message.get("tag") == edge.tag:
                    return one.name
            if one.role is Role.WRITER:
                store = output["file-store"]
                document = {
                    "input": {
                        "file-store": {
                            "path": store["path"],
                            "object-names": [store["object-name"]["name"]],
                            "mode": "list-objects",
                            "fingerprinting": True,
                            "trigger": {"interval": {"duration": DEFAULT_INTERVAL}},
                        }
                    },
                    "output": {"message": {"tag": edge.tag}},
                }
                label = "".join(c if c.isalnum() else "-" for c in edge.tag.lower())
                name = f"{one.name.removesuffix('-writer')}-{label}-relay"
                relay = replace(one, name=name, role=Role.RELAY, origin=f"message {edge.tag}", document=document)
                self._drafts[name] = relay
                # It reads what the writer wrote, so it belongs on the same disk.
                self._hops.setdefault(f"disk of {one.name}", [one.name]).append(name)
                return name
        return None

    def _of(self, step: str) -> list[Draft]:
        return [draft for draft in self._drafts.values() if draft.step == step]

    # -- faults and sets -----------------------------------------------------------------------------------

    def finish(self) -> Woven:
        self.out.drafts = list(self._drafts.values())
        for name, channel in self._channels.items():
            producers, consumers = self._ends[name]
            self.out.channels[name] = deployment.Channel(
                name,
                channel.definition.transport.value,
                self._options[name],
                tuple(dict.fromkeys(draft.step for draft in producers)),
                tuple(dict.fromkeys(draft.step for draft in consumers)),
            )
            match channel.definition.transport:
                case Transport.WORKER_CHANNEL:
                    self._check_worker_channel(name, channel, producers, consumers)
                case Transport.FILE_STORE:
                    self._check_file_store(name, channel, producers, consumers)
                case other:
                    self._block(
                        "transport_unavailable",
                        f"Channel {name} uses the transport {other}, which is not available yet.",
                        "Use file-store for a durable hop, or worker-channel within one worker.",
                        f"{channel.pointer}/transport",
                    )
        self.out.together = self._join()
        self._check_groups()
        return self.out

    def _block(self, code: str, message: str, hint: str, pointer: str) -> None:
        self.out.blockers.append(Finding(code, message, hint, pointer))

    def _check_worker_channel(
        self, name: str, channel: wiring.WiredChannel, producers: list[Draft], consumers: list[Draft]
    ) -> None:
        for option in self._options[name]:
            self._block(
                "invalid_transport",
                f"Channel {name}: worker-channel has no setting {shorten(option, 60)}.",
                "Remove it; a worker-channel has no settings.",
                f"{channel.pointer}/with/{option}",
            )
        if len(consumers) > 1:
            steps = ", ".join(draft.step for draft in consumers)
            self._block(
                "fan_out_unavailable",
                f"Channel {name} has several consumers ({steps}); a worker-channel cannot copy events yet.",
                "Use transport: file-store, which gives every consumer all events.",
                channel.pointer,
            )

    def _check_file_store(
        self, name: str, channel: wiring.WiredChannel, producers: list[Draft], consumers: list[Draft]
    ) -> None:
        options = self._options[name]
        for option in options:
            if option not in FILE_STORE_OPTIONS:
                guess = names.did_you_mean(option, FILE_STORE_OPTIONS)
                self._block(
                    "invalid_transport",
                    f"Channel {name}: file-store has no setting {shorten(option, 60)}{guess}.",
                    f"Settings: {', '.join(FILE_STORE_OPTIONS)}.",
                    f"{channel.pointer}/with/{option}",
                )
        if "path" not in channel.definition.with_:
            self._block(
                "invalid_transport",
                f"Channel {name}: file-store needs a path.",
                'Add `with: {path: ...}`, e.g. path: "{{wizard.path}}".',
                f"{channel.pointer}/with",
            )
        for draft in consumers:
            if draft.replicas > 1:
                self._block(
                    "replicated_reader",
                    f"Each of the {draft.replicas} replicas of {draft.step} would read all files of channel {name}.",
                    f"Set the replicas of {draft.step} to 1.",
                    draft.pointer,
                )
        groups = sorted({draft.group for draft in (*producers, *consumers)})
        if len(groups) > 1:
            self.out.warnings.append(
                Finding(
                    "shared_path_needed",
                    f"Channel {name} writes and reads files in several worker groups ({', '.join(groups)}).",
                    "Its path must be on storage that all of them share.",
                    channel.pointer,
                )
            )

    def _join(self) -> list[tuple[str, ...]]:
        """The sets of jobs that are joined by worker channels, in the order of the jobs (union-find)."""
        parent = {draft.name: draft.name for draft in self.out.drafts}

        def find(one: str) -> str:
            while parent[one] != one:
                parent[one] = parent[parent[one]]
                one = parent[one]
            return one

        for members in self._hops.values():
            first = find(members[0])
            for other in members[1:]:
                parent[find(other)] = first
        sets: dict[str, list[str]] = {}
        for draft in self.out.drafts:
            sets.setdefault(find(draft.name), []).append(draft.name)
        return [tuple(members) for members in sets.values()]

    def _check_groups(self) -> None:
        for members in self.out.together:
            groups: dict[str, list[str]] = {}
            for member in members:
                draft = self._drafts[member]
                if draft.role is Role.STEP:
                    groups.setdefault(draft.group, []).append(draft.step)
            if len(groups) > 1:
                places = "; ".join(f"{', '.join(dict.fromkeys(steps))} in {group}" for group, steps in groups.items())
                self._block(
                    "split_worker_channel",
                    f"Steps that share a worker-channel are placed in different worker groups: {places}.",
                    "Place them in one group, or use transport: file-store between them.",
                    self._drafts[members[0]].pointer,
                )


_POLLING = frozenset({"azure-blob", "echo", "exec", "file-store", "gcs", "http-poll", "s3"})


def _polls(draft: Draft) -> bool:
    source = draft.document.get("input")
    return isinstance(source, dict) and bool(_POLLING & source.keys()) and draft.role in (Role.STEP, Role.READER)
