"""The license of this installation: shown, and installed while the engine runs."""

from __future__ import annotations

from pydantic import Field

from core import license
from core.engine import Engine
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation


class LicenseShow(Params):
    pass


@operation(
    summary="Show which edition and features are licensed.",
    http="GET /api/license/show",
    toolset="administration",
    tool=False,
    role=Role.VIEWER,
)
async def license_show(engine: Engine, caller: Caller, params: LicenseShow) -> license.LicenseShown:
    """Show the license in force: edition, features, limits, until when, and why it is not what was expected."""
    return engine.licensing.current.to_dict()


class LicenseInstall(Params):
    document: str = Field(max_length=license.MAX_FILE_BYTES)
    """The content of the license file."""


@operation(
    summary="Install a license file; it takes effect at once.",
    http="POST /api/license/install",
    toolset="administration",
    effect=Effect.WRITE,
    offline=True,
    role=Role.ADMIN,
    platform=True,
    idempotent=True,
    tool=False,
)
async def license_install(engine: Engine, caller: Caller, params: LicenseInstall) -> license.LicenseShown:
    """Check a license and keep it in the home directory. One that is not trusted or is over changes nothing."""
    return (await engine.licensing.install(engine.ids.next(), caller, params.document)).to_dict()
