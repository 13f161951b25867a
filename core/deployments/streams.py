"""A durable channel as a stream of a NATS server: what its writers and readers are given. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.deployments import draft as drafting

RETRY: Mapping[str, Any] = {"retries": 100, "timeout": "90s"}
"""How a writer bears a server that is away: within the two minutes in which the server knows a message again."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The stream of a channel; the server keeps for each reader how far it has come."""

    name: str
    options: Mapping[str, Any]

    def output(self) -> dict[str, Any]:
        """The output of a writer."""
        batch = {"mode": "fixed", "fixed-size": self.options.get("batch-size", 1000)}
        return {"jetstream": {"stream": self.name, "batch": batch, "retry": dict(RETRY)}}

    def input(self, readers: Sequence[str]) -> dict[str, Any]:
        """The input of a reader; `readers` are the jobs that read this channel."""
        config: dict[str, Any] = {"stream": self.name}
        if (replay := self.options.get("replay")) is not None:
            config["replay"] = replay
        kept = {"age": "retention", "max-bytes": "max-bytes"}
        retention = {key: self.options[option] for key, option in kept.items() if option in self.options}
        if retention:
            config["retention"] = {**retention, "readers": list(readers)}
        return {"jetstream": config}


def of(options: Mapping[str, Any], deployment: str, channel: str) -> Stream:
    """The stream of a channel."""
    own = drafting.bounded(f"{deployment}--{channel.replace('.', '--')}")
    return Stream(str(options.get("stream", own)), options)
