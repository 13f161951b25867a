"""The license of this installation: shown, and installed while the engine runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import Field

from core import clock, errors, license
from core.engine import Engine
from core.model.operation import Effect, Params
from core.model.principal import Caller, Role
from core.operations.registry import operation
from core.store import audit, jobs


class LicenseShow(Params):
    pass


@operation(
    summary="Show which edition and features are licensed.",
    http="GET /api/license/show",
    toolset="administration",
    tool=False,
    role=Role.USER,
)
async def license_show(engine: Engine, caller: Caller, params: LicenseShow) -> dict[str, Any]:
    """Show the license in force: edition, features, limits, until when, and why it is not what was expected."""
    return engine.licensing.current.to_dict()


async def require_room(engine: Engine, tenant: str, name: str) -> None:
    """Raises NotLicensed when `name` would be a job more than the license allows; one that exists may be edited."""
    if engine.licensing.current.limits.jobs is None:
        return
    names = await engine.database.read(jobs.names)
    if (tenant, name) not in names:
        engine.licensing.current.require_room(len(names))


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
async def license_install(engine: Engine, caller: Caller, params: LicenseInstall) -> dict[str, Any]:
    """Check a license and keep it in the home directory. One that is not trusted or is over changes nothing."""
    raw = params.document.encode()
    decided = license.decide(license.verify(raw, engine.settings.license_keys), clock.now_ns())
    if decided.status is license.Status.EXPIRED:
        raise errors.InvalidDocument(f"This license is of no use: {decided.reason}.", hint="Ask for a new file.")
    await engine.database.write(audit.insert, audit.row(engine.ids.next(), caller, "license_install", decided.id))
    await anyio.to_thread.run_sync(_keep, engine.settings.license_file, raw)
    return (await engine.licensing.read()).to_dict()


def _keep(path: Path, raw: bytes) -> None:
    """Put the file in its place whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".license-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
