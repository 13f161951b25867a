"""Secrets go to a worker by need: those that its workloads name, before the workload, and again when they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import orjson

from core import channel
from core.contexts.secrets import Vault
from core.dsl.language import mentions
from core.fleet.connection import Stamp, Worker
from core.model import frames
from core.model.secret import Reference
from core.model.workload import WorkloadRow


class Needs:
    """Which secrets each workload names, and who was given what."""

    def __init__(self, vault: Vault, given: Callable[[Worker, str, Stamp], None]) -> None:
        """`given` hears what goes to which worker, for which tenant."""
        self._vault = vault
        self._told = given
        self._named: dict[str, tuple[str, list[Reference]]] = {}  # workload id -> (document, secrets it names)

    def of(self, row: WorkloadRow) -> list[Reference]:
        """The secrets that a workload's document names."""
        text = row.document
        known = self._named.get(row.id)
        if known is None or known[0] != text:
            some = mentions.possible(text.encode())
            known = self._named[row.id] = (text, list(mentions.secrets(orjson.loads(text))) if some else [])
        return known[1]

    def give(self, worker: Worker, link: channel.Channel, row: WorkloadRow) -> None:
        """Send a worker the secrets of one workload, unless it has them in their present versions."""
        wanted = self.of(row)
        stamp = self._vault.stamp(row.tenant, wanted) if wanted else ()
        if worker.given.get(row.id, ()) != stamp:
            worker.given[row.id] = stamp
            self._told(worker, row.tenant, stamp)
            link.send(frames.encode(frames.Secrets(row.id, self._vault.values(row.tenant, wanted))))

    def forget(self, workload: str) -> None:
        self._named.pop(workload, None)

    def users(self, rows: Iterable[WorkloadRow]) -> dict[str, list[str]]:
        """Full name of a secret -> the jobs of these workloads that name it."""
        users: dict[str, set[str]] = {}
        for row in rows:
            for one in self.of(row):
                users.setdefault(one.secret, set()).add(row.job)
        return {name: sorted(jobs) for name, jobs in users.items()}
