"""What a running job may ask of its worker, as one value that the worker fills in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from core.dsl.component import UNNOTED, Channel, Component, Contact, Limits, Outgoing, Tally
from core.errors import JobFailed
from core.model.kv import KV, Namespace, qualify
from core.model.workload import parse
from core.worker.channels import Channels
from core.worker.contacts import Contacts
from core.worker.kv import NoKV


class Log(Protocol):
    def __call__(self, level: str, text: str, **fields: Any) -> None: ...


@dataclass(slots=True)
class Environment:
    """The Env of one workload (see core.dsl.component.Env for the contracts)."""

    job: str
    worker: str
    tenant: str
    workload: str
    limits: Limits
    state_dir: Path
    log: Log
    publish: Callable[[Outgoing], asyncio.Future[None]]
    variable: Callable[[str], str | None]
    channels: Channels
    store: KV = field(default_factory=NoKV)
    reveal: Callable[[str, str], str] | None = None
    contacts: Contacts = field(default_factory=Contacts)
    contact: Contact = UNNOTED
    tally: Tally = field(default_factory=Tally)
    before_events: list[Callable[[], None]] = field(default_factory=list)

    def at(self, component: Component) -> Environment:
        """The same for an input or output, whose tries go to the contact of its kind."""
        return replace(self, contact=self.contacts.of(component))

    def secret(self, source: str, name: str) -> str:
        """The value behind `${source|name}`. Raises JobFailed where there are no secrets (a trace)."""
        if self.reveal is None:
            raise JobFailed("there are no secrets here")
        return self.reveal(source, name)

    def kv(self, namespace: str) -> Namespace:
        """A namespace of this tenant in the KV store."""
        return Namespace(self.store, qualify(self.tenant, namespace))

    def channel(self, name: str) -> Channel:
        """A channel of this worker; tenants do not share names."""
        return self.channels.bind(channel_name(self.tenant, name), parse(self.workload).reader)


def channel_name(tenant: str, name: str) -> str:
    """The name under which a tenant's channel is found in `Channels`."""
    return f"{tenant}/{name}"
