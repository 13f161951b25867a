"""The settings of the engine: read here, and changed by nobody but who starts it."""

from __future__ import annotations

from core import effective, precedence
from core.engine import Engine
from core.model import results
from core.model.operation import Params
from core.model.principal import Caller, Role
from core.operations.registry import operation


class SettingsGet(Params):
    pass


@operation(
    summary="Show every setting of the engine, where it came from, and what a restart would change.",
    http="GET /api/settings",
    toolset="administration",
    tool=False,
    role=Role.ADMIN,
    platform=True,
)
async def settings_get(engine: Engine, caller: Caller, params: SettingsGet) -> results.engine.SettingsTold:
    """Each setting that the running engine has, with its `source` (flag, environment, file, default) and `where` (the
    variable, or file:line); `restart` names those of which sluice.toml says something else by now, which takes effect
    after a restart, and `fault` is why the engine could not start with that file. Passwords in addresses are left out.
    While no engine runs (`running`), these are what `sluice serve` would have without flags."""
    settings = engine.settings if engine.running else precedence.of_shell(engine.settings.home)
    groups = {*settings.worker_groups, "default"}  # those that serve makes with its workers

    def group(name: str) -> object | None:
        return engine.fleet.groups.get(name) or (name if name in groups and not engine.running else None)

    return {**effective.explain(settings, group), "running": engine.running}
