"""What a promotion or a rollback would do, from the runs that are on record.

A promotion takes what the last run of an environment has deployed there, if that is what was reviewed and runs well;
a rollback what a successful run has left.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from core import errors
from core.deployments import observed
from core.fleet.fleet import Fleet
from core.gitops import promotion
from core.gitops.desired import VERSIONED, Item
from core.gitops.diff import Diff, Differ
from core.gitops.present import Label
from core.model.gitops import Kind
from core.model.plan import Finding
from core.model.states import DeploymentState, GitopsRunState
from core.store import deployments as deployment_table
from core.store import gitops as table
from core.store.database import Database


@dataclass(frozen=True, slots=True)
class Proposal:
    """The diff, the desired state that it leaves behind, and where that comes from, for the record."""

    diff: Diff
    left: list[Item]
    source: dict[str, Any]


class Promoter:
    """Use from the engine's loop."""

    def __init__(self, database: Database, fleet: Fleet, differ: Differ) -> None:
        self._database = database
        self._fleet = fleet
        self._differ = differ

    async def promotion(self, tenant: str, environment: str, target: str, commit: str | None, now_ns: int) -> Proposal:
        """Take what runs in one environment over to the deployments of another one, the target.

        `commit` is the one that was reviewed; None when nothing was, which is only looked at. Raises NotFound,
        PlanBlocked.
        """
        run, reviewed = await self._reviewed(tenant, environment, commit, now_ns)
        there = {
            name: dict(found.data)
            for (kind, name), found in (await self._differ.present(tenant)).items()
            if kind is Kind.DEPLOYMENT and found.data["environment"] == target
        }
        made = promotion.promote(reviewed, there, environment, target)
        if not made.items:
            raise errors.NotFound(
                f"Nothing in environment {target} has a counterpart in {environment}.",
                hint="Apply the files of that environment once; then orders-dev is promoted to orders-prod.",
            )
        before = next(iter(await self._succeeded(tenant, target)), None)
        label = Label(tenant, target, before["manifest"] if before else "default")
        found = await self._differ.diff_items(label, list(made.items), prune=False)
        found = dataclasses.replace(
            found, warnings=[*found.warnings, *(_without(name, target) for name in made.without)]
        )
        earlier = await self._left_by(before) if before else []
        others = [Item(Kind.DEPLOYMENT, name, data) for name, data in there.items()]
        left = promotion.left_behind(promotion.left_behind(earlier, others), list(made.items))
        return Proposal(found, left, {**run["source"], "from_environment": environment, "from_run": run["id"]})

    async def rollback(self, tenant: str, environment: str, to_run: str | None, commit: str | None) -> Proposal:
        """Bring an environment back to what a run has left there; published versions stay.

        The run is `to_run`, or else the newest successful one of the commit. Raises NotFound, InvalidParams.
        """
        run = await self._earlier(tenant, environment, to_run, commit)
        items = await self._left_by(run)
        found = await self._differ.diff_items(Label(tenant, environment, run["manifest"]), items, prune=True)
        kept = [change for change in found.changes if change.kind not in VERSIONED]
        return Proposal(dataclasses.replace(found, changes=kept), items, {**run["source"], "to_run": run["id"]})

    async def _reviewed(
        self, tenant: str, environment: str, commit: str | None, now_ns: int
    ) -> tuple[dict[str, Any], list[Item]]:
        """The last run of an environment with what it left, if that is what was reviewed and what runs there, well."""
        runs = await self._database.read(table.runs, tenant, environment)
        if not runs:
            raise errors.NotFound(
                f"Environment {environment or '(none)'} has no run in tenant {tenant}.",
                hint="Apply its files first: sluice gitops apply.",
            )
        run, what = runs[0], f"environment {environment or '(none)'}"
        if run["state"] != GitopsRunState.SUCCEEDED:
            raise errors.PlanBlocked(
                f"The last run of {what}, {run['id']}, is {run['state']}: {run['reason'] or 'not at its end'}.",
                hint="Promote what has been applied with success: apply again, then promote.",
            )
        if commit is not None and run["commit_sha"] != commit:
            at = f"commit {run['commit_sha']}" if run["commit_sha"] else "no commit (source.commit_sha of its manifest)"
            raise errors.PlanBlocked(
                f"What was reviewed is commit {commit}, and {what} is at {at}, since run {run['id']}.",
                hint="Review what is there, or apply the reviewed commit there first.",
                errors=[errors.Problem("/commit", f"{what} is at {at}")],
            )
        items = await self._left_by(run)
        faults = [fault for item in items if (fault := await self._fault(tenant, item, now_ns))]
        if faults:
            raise errors.PlanBlocked(
                f"What runs in {what} is not what was reviewed, or does not run well: {faults[0]}.",
                hint="Apply the reviewed files there again and wait until everything runs.",
                errors=[errors.Problem("", fault) for fault in faults],
            )
        return run, items

    async def _fault(self, tenant: str, item: Item, now_ns: int) -> str:
        """How a reviewed deployment is not what runs, or does not run well; empty when it does."""
        if item.kind is not Kind.DEPLOYMENT:
            return ""
        row = await self._database.read(deployment_table.get, tenant, item.name)
        if row is None or row.source != item.data["source"]:
            now = row.source if row is not None and row.source else "gone"
            return f"{item.name} was {item.data['source']} when it was reviewed and is {now}"
        state, reason, _ = observed.observe(self._fleet, tenant, row, now_ns)
        if state is DeploymentState.RUNNING:
            return ""
        return f"{item.name} is {state.value}" + (f": {reason}" if reason else "")

    async def _earlier(self, tenant: str, environment: str, to_run: str | None, commit: str | None) -> dict[str, Any]:
        """The run to go back to."""
        done = await self._succeeded(tenant, environment)
        if to_run is None and commit is None:
            raise errors.InvalidParams(
                "Say what to go back to.", errors=[errors.Problem("/commit", "is required, or else to_run")]
            )
        for run in done:
            if to_run is None and run["commit_sha"] == commit:
                return run
            if to_run == run["id"]:
                if commit and run["commit_sha"] not in ("", commit):
                    raise errors.InvalidParams(
                        f"Run {run['id']} is of commit {run['commit_sha']}, not of the commit that was approved.",
                        errors=[errors.Problem("/commit", f"must be {run['commit_sha']}")],
                    )
                return run
        known = ", ".join(f"{run['id']} ({run['commit_sha'][:12] or 'no commit'})" for run in done[:5]) or "none"
        raise errors.NotFound(
            f"Environment {environment or '(none)'} has no successful run "
            + (f"{errors.shorten(to_run, 64)}." if to_run else f"of commit {errors.shorten(commit, 64)}."),
            hint=f"Successful runs, newest first: {known}.",
        )

    async def _succeeded(self, tenant: str, environment: str) -> list[dict[str, Any]]:
        """The successful runs of an environment, newest first."""
        runs = await self._database.read(table.runs, tenant, environment)
        return [run for run in runs if run["state"] == GitopsRunState.SUCCEEDED]

    async def _left_by(self, run: dict[str, Any]) -> list[Item]:
        return [Item.from_dict(one) for one in await self._database.read(table.body, run["id"])]


def _without(name: str, environment: str) -> Finding:
    return Finding(
        "no_counterpart",
        f"{name} has no counterpart in environment {environment}.",
        "A first deployment comes from the files of its environment.",
    )
