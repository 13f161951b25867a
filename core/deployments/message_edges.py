"""Message edges: the source emits the tag, and the inputs of the target wait for it.

Who emits, in this order: a job of the source that sends the tag by itself; for a target that reads what the source
wrote to a durable channel, a relay that tells of each new object; otherwise a relay that makes a message of each
event that leaves the source, and for a source whose events leave through no channel, an `emit` after its output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from core.catalog import wiring
from core.deployments import draft as drafting
from core.deployments import spool
from core.deployments.draft import Draft, Ends, Hop
from core.dsl.language import schedule
from core.model.deployment import Role


class Loom(Protocol):
    """What the edges need of the weaver."""

    drafts: dict[str, Draft]
    ends: dict[str, Ends]

    def keep(self, draft: Draft) -> None: ...
    def hop(self, channel: str, adapter: str = "") -> str: ...
    def hop_at(self, name: str) -> Hop: ...
    def near(self, one: str, other: str) -> None: ...
    def spool(self, channel: str) -> spool.Spool | None: ...
    def fed_by(self, draft: Draft, port: str) -> Iterable[str]: ...
    def block(self, code: str, message: str, hint: str, pointer: str) -> None: ...


@dataclass(slots=True)
class _Heard:
    """What one listening job waits for."""

    tags: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)


def connect(loom: Loom, edges: Sequence[wiring.WiredMessage]) -> None:
    """Compile the message edges into relays and triggers."""
    if edges:
        _Edges(loom).run(edges)


class _Edges:
    def __init__(self, loom: Loom) -> None:
        self._loom = loom
        self._relays: dict[tuple[str, str], str] = {}  # (what it listens to, tag) -> relay
        self._jobs: dict[str, list[Draft]] = {}  # of a step or a module, before any relay
        for draft in loom.drafts.values():
            path = draft.step.split(".")
            for length in range(1, len(path) + 1):
                self._jobs.setdefault(".".join(path[:length]), []).append(draft)

    def run(self, edges: Iterable[wiring.WiredMessage]) -> None:
        heard: dict[str, _Heard] = {}
        for edge in edges:
            listeners = self._listeners(edge.target)
            if not listeners:
                self._loom.block(
                    "message_edge_unsupported",
                    f"Step {edge.target} cannot wait for {edge.tag}: its input has no trigger.",
                    "Feed it over a file-store channel, or begin the step with an input that takes a trigger.",
                    f"{edge.pointer}/to",
                )
            for listener in listeners:
                emitters = self._emitters(edge, listener)
                if not emitters:
                    self._loom.block(
                        "message_edge_unsupported",
                        f"Step {edge.source} cannot emit {edge.tag}: it has no job whose events leave it.",
                        "Send its events over a channel, or end the step with output: {message: {tag: ...}}.",
                        f"{edge.pointer}/from",
                    )
                one = heard.setdefault(listener.name, _Heard())
                one.tags += [edge.tag] if edge.tag not in one.tags else []
                one.jobs += [job for job in emitters if job not in one.jobs]
        for name, what in heard.items():
            self._wake(self._loom.drafts[name], what)

    def _of(self, step: str) -> list[Draft]:
        """The jobs of a step, or of all steps of a module."""
        return self._jobs.get(step, [])

    # -- the target ----------------------------------------------------------------------------------------

    def _listeners(self, target: str) -> list[Draft]:
        out = []
        inside = f"{target}."
        for draft in self._of(target):
            if draft.role is Role.STEP:
                source = draft.document.get("input")
                if any(name == "internal-messages" or schedule.takes_trigger(name) for name in _keys(source)):
                    out.append(draft)
            elif draft.role is Role.READER:
                # What a module spools for itself does not wait for messages from outside.
                channel = _channel(draft)
                producers = self._loom.ends[channel].producers
                if self._loom.spool(channel) is None:
                    continue  # a stream is read as it comes
                if any(one.step != target and not one.step.startswith(inside) for one in producers):
                    out.append(draft)
        return out

    def _wake(self, draft: Draft, heard: _Heard) -> None:
        if not heard.jobs:
            return
        filter = {
            "filter-kind": "user",
            "filter-type": ["user-generated"],
            "filter-tag": _scalar(heard.tags),
            "filter-job": _scalar(heard.jobs),
        }
        if draft.role is Role.READER:
            draft.document = {**draft.document, "input": {"trigger": {"message": filter}}}  # completed by its channel
            return
        source = draft.document["input"]
        name = next(iter(_keys(source)))
        given = source.get(name) if isinstance(source, dict) else None
        config = given if isinstance(given, dict) else {}
        woken = {**config, **filter} if name == "internal-messages" else {**config, "trigger": {"message": filter}}
        draft.document = {**draft.document, "input": {name: woken}}

    # -- the source ----------------------------------------------------------------------------------------

    def _emitters(self, edge: wiring.WiredMessage, listener: Draft) -> list[str]:
        jobs = [draft for draft in self._of(edge.source) if draft.role is Role.STEP]
        speaking = [draft.name for draft in jobs if _says(draft.document, edge.tag)]
        if speaking:
            return speaking
        if listener.role is Role.READER:
            channel = _channel(listener)
            writers = [draft for draft in self._of(edge.source) if draft.role is Role.WRITER]
            near = [draft for draft in writers if _channel(draft) == channel]
            if near:
                return [self._announcer(channel, near[0], edge)]
        leaving = [draft for draft in jobs if self._leaves(draft, edge.source)]
        if leaving:
            return [self._tap(draft, edge.tag) for draft in leaving]
        ends = [draft for draft in jobs if not _keys(draft.document.get("output")) & {"worker-channel", "dispatch"}]
        for draft in ends:
            _emit(draft, edge.tag)
        return [draft.name for draft in ends]

    def _leaves(self, draft: Draft, source: str) -> bool:
        """Whether the events of a job go to a step outside."""
        inside = f"{source}."
        channels = {name for port in (*draft.outs, *draft.spread) for name in self._loom.fed_by(draft, port)}
        return any(
            one.step != source and not one.step.startswith(inside)
            for name in channels
            if draft in self._loom.ends[name].producers
            for one in self._loom.ends[name].consumers
        )

    def _announcer(self, channel: str, writer: Draft, edge: wiring.WiredMessage) -> str:
        """A relay that tells of every new object of a channel."""
        key = (f"{edge.source}>{channel}", edge.tag)
        if key not in self._relays:
            store = self._loom.spool(channel)
            assert store is not None
            name = self._name(writer.name.removesuffix("-writer"), edge.tag)
            self._add(writer, name, edge.tag, store.listing())
            # It reads what the writer wrote, so it belongs on the same disk.
            self._loom.near(writer.name, name)
            self._relays[key] = name
        return self._relays[key]

    def _tap(self, draft: Draft, tag: str) -> str:
        """A relay that makes a message of every event of a job, which gets a copy whatever else happens to them."""
        key = (draft.name, tag)
        if key not in self._relays:
            name = self._name(draft.name, tag)
            hop = self._loom.hop(draft.step, name)
            self._add(draft, name, tag, {"worker-channel": {"channel": hop}})
            at = self._loom.hop_at(hop)
            at.writers.append(draft.name)
            at.readers.append(name)
            draft.document = {**draft.document, "output": _with_copy(draft.document["output"], hop)}
            self._relays[key] = name
        return self._relays[key]

    def _name(self, before: str, tag: str) -> str:
        label = "".join(c if c.isascii() and c.isalnum() else "-" for c in tag.lower())
        return drafting.bounded(f"{before}-{label}-relay")

    def _add(self, beside: Draft, name: str, tag: str, source: Mapping[str, Any]) -> None:
        document = {"input": dict(source), "output": {"message": {"tag": tag}}}
        self._loom.keep(replace(beside, name=name, role=Role.RELAY, origin=f"message {tag}", document=document))


def _channel(adapter: Draft) -> str:
    return adapter.origin.removeprefix("channel ")


def _keys(end: Any) -> frozenset[str]:
    return frozenset(end) if isinstance(end, dict) else frozenset({str(end)}) if end else frozenset()


def _says(document: Mapping[str, Any], tag: str) -> bool:
    output, emits = document.get("output"), document.get("emit")
    if isinstance(output, dict) and isinstance(message := output.get("message"), dict) and message.get("tag") == tag:
        return True
    return any(
        (one.get("tag") if isinstance(one, dict) else one) == tag
        for one in (emits if isinstance(emits, list) else [emits])
    )


def _with_copy(output: Mapping[str, Any], hop: str) -> dict[str, Any]:
    """The output of a job, with a channel that gets a copy of every event."""
    if "dispatch" in output:
        config = output["dispatch"]
    else:
        config = {"mode": "clone", "outputs": {"out": output["worker-channel"]["channel"]}}
    return {"dispatch": {**config, "copies": [*config.get("copies", ()), hop]}}


def _emit(draft: Draft, tag: str) -> None:
    """Let a job tell when its output has accepted what it sent."""
    if _says(draft.document, tag):
        return
    given = draft.document.get("emit")
    before = given if isinstance(given, list) else [] if given is None else [given]
    timed = any(schedule.takes_trigger(name) for name in _keys(draft.document.get("input")))
    draft.document = {**draft.document, "emit": [*before, {"tag": tag, "on": "run" if timed else "batch"}]}


def _scalar(values: list[str]) -> list[str] | str:
    return values if len(values) > 1 else values[0]
