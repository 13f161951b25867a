"""Where the jobs of a tenant may read and write files, as far as the engine can know before they run."""

from __future__ import annotations

from core.engine import Engine
from core.guard import filepolicy
from core.guard.filerules import ANYWHERE, AnyOf, FileRules, Locator


def directory(engine: Engine, tenant: str, group: str) -> str:
    """Where relative paths of a tenant start on the workers of a group; empty when it has no directory there."""
    known = engine.fleet.file_policies(tenant, group) or [filepolicy.of(engine.settings.of_group(group))]
    return FileRules(known[0], tenant).start


def reach(engine: Engine, tenant: str, group: str = "") -> Locator:
    """What the workers of a group allow to a tenant; without a group, what those of any group do.

    A worker of another machine has rules of its own, which are known once it has joined: one that may yet come is
    believed to allow what every worker does. So is every one while no engine runs.
    """
    known = engine.fleet.file_policies(tenant, group)
    if not engine.running or (engine.settings.nats and not (group and known)):
        return ANYWHERE
    if not known:
        known = [filepolicy.of(engine.settings.of_group(group) if group else engine.settings)]
    return AnyOf([FileRules(policy, tenant) for policy in known])
