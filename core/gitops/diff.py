"""Gathers all that `compare` needs for one manifest, has it decide, and plans every deployment of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core import errors
from core.deployments import plan_text
from core.gitops import compare, present, reading
from core.gitops.compare import Action, Change, Found, Key
from core.gitops.desired import Item
from core.gitops.files import File
from core.gitops.present import Label
from core.gitops.reading import Reader, Wanted
from core.model.gitops import Kind, Manifest
from core.model.operation import Loss
from core.model.plan import Finding
from core.model.principal import Caller
from core.store import contexts as context_table
from core.store.database import Database
from core.triggers.registry import TriggerRegistry

if TYPE_CHECKING:
    from core.model.results import gitops

SHOWN_CHANGES = 500
SHOWN_FINDINGS = 50
SHOWN_TEXT = 100_000
SHOWN_PROBLEMS = 500


@dataclass(frozen=True, slots=True)
class Diff:
    """What an apply would do, and what stands in its way."""

    label: Label
    wanted: Wanted
    changes: list[Change]
    warnings: list[Finding]
    blockers: list[Finding]

    @property
    def pending(self) -> list[Change]:
        """The changes that are any."""
        return [change for change in self.changes if change.action is not Action.UNCHANGED]

    @property
    def digest(self) -> str:
        return compare.digest(self.changes)

    def text(self) -> str:
        return compare.text(str(self.label), self.changes, self.warnings, self.blockers)

    def require(self, digest: str | None) -> None:
        """Hold it to the diff that was reviewed, if one was. Raises StalePlan."""
        if digest is not None and digest != self.digest:
            raise errors.StalePlan(
                f"The changes are not those that were reviewed: the diff is {self.digest} now, not {digest}.",
                hint="Look at the diff again: sluice gitops diff.",
                details={"digest": self.digest, "summary": compare.summary(self.changes)},
            )

    def to_dict(self) -> gitops.FilesDiff:
        """As every door shows it."""
        pending = self.pending
        return {
            "scope": self.label.to_dict(),
            "summary": compare.summary(self.changes),
            "changes": [change.to_dict() for change in pending[:SHOWN_CHANGES]],
            "changes_left_out": max(0, len(pending) - SHOWN_CHANGES),
            "warnings": [one.to_dict() for one in self.warnings[:SHOWN_FINDINGS]],
            "blockers": [one.to_dict() for one in self.blockers[:SHOWN_FINDINGS]],
            "digest": self.digest,
            "text": self.short_text(),
        }

    def short_text(self) -> str:
        text = self.text()
        return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}\n... cut"

    def loss(self) -> Loss | None:
        """What a user is asked about it, and the arguments that hold the call to it; None when nothing is done."""
        if self.blockers or not self.pending:
            return None
        pinned = {"expect": self.digest}
        return Loss(self.short_text(), pinned, yes="Make these changes", where="gitops_diff", tenant=self.label.tenant)


class Differ:
    """Use from the engine's loop."""

    def __init__(self, database: Database, triggers: TriggerRegistry, reader: Reader) -> None:
        self._database = database
        self._triggers = triggers
        self._reader = reader

    async def present(self, tenant: str, wanted: Sequence[Item] = ()) -> dict[Key, Found]:
        """What a tenant has now; see present.present."""
        return await present.present(self._database, self._triggers, tenant, wanted)

    async def read(self, caller: Caller, manifest: Manifest, files: Iterable[File]) -> Wanted:
        """What files ask for, with what is wrong with them; see Reader.read."""
        return await self._reader.read(caller, manifest, files)

    async def diff_files(
        self, caller: Caller, label: Label, manifest: Manifest, files: Iterable[File], *, prune: bool
    ) -> Diff:
        """What it takes to have what files ask for. Raises InvalidDocument with the faults of the files."""
        wanted = await self.read(caller, manifest, files)
        if wanted.problems:
            count = len(wanted.problems)
            raise errors.InvalidDocument(
                f"The files have {count} {'fault' if count == 1 else 'faults'}; nothing was changed.",
                hint="Each fault says where it is; sluice gitops validate shows them all.",
                errors=wanted.problems[:SHOWN_PROBLEMS],
            )
        return await self.diff(label, wanted, prune=prune)

    async def diff_items(self, label: Label, items: list[Item], *, prune: bool) -> Diff:
        """What it takes to have these items, which were read before."""
        return await self.diff(label, await self._reader.of_items(label.tenant, items), prune=prune)

    async def diff(self, label: Label, wanted: Wanted, *, prune: bool = True) -> Diff:
        """Compare; every deployment is planned as it would be after everything else has been applied."""
        there, holds = await self.present(label.tenant, wanted.items), await present.owned(self._database, label)
        changes = compare.compare(wanted.items, there, holds, prune=prune)
        blocked = compare.blockers(changes, there, holds, label.environment)
        gone = [one.name for one in changes if one.action is Action.PRUNE and one.kind is Kind.CONTEXT]
        if gone:
            rows = await self._database.read(context_table.of_tenant, label.tenant)
            wanted = replace(wanted, contexts=reading.layers(rows, wanted.items, gone), plans={})
        warnings: list[Finding] = []
        out = []
        for change in changes:
            if change.kind is Kind.DEPLOYMENT and change.item is not None:
                change, told, against = await self._planned(label.tenant, change, change.item, wanted)
                warnings += told
                blocked += against
            out.append(change)
        return Diff(label, wanted, out, warnings, blocked)

    async def _planned(
        self, tenant: str, change: Change, item: Item, wanted: Wanted
    ) -> tuple[Change, list[Finding], list[Finding]]:
        made = wanted.plans.get(item.name) or await self._reader.plan(tenant, item, wanted)
        warnings, blocked = (_named(item.name, found) for found in (made.warnings, made.blockers))
        if made.empty:
            return change, warnings, blocked
        reason = change.reason
        if change.action is Action.UNCHANGED:  # the same wish, but other contexts, or another place
            change = replace(change, action=Action.UPDATE)
            reason = "its jobs change"
        return replace(change, reason=reason, diff=f"{change.diff}\n{plan_text.short(made)}".strip()), warnings, blocked


def _named(name: str, findings: Iterable[Finding]) -> list[Finding]:
    return [replace(one, message=f"deployment {name}: {one.message}", pointer="") for one in findings]
