"""An engine that starts looks whether its home is a copy, and asks before it does what the original does as well."""

from __future__ import annotations

import shutil

import structlog

from core import clock, errors, whereabouts
from core.ownership import Ownership
from core.settings import Settings
from core.store import home as table
from core.store.database import Database
from core.store.replaced_files import refuse_beside_a_rescue
from core.whereabouts import Known

log = structlog.get_logger("core.adoption")

RESTORING = "restoring"
"""A directory in the home, as long as a backup is put into it."""


def refuse_without_database(owned: Ownership, settings: Settings) -> None:
    """Raises StorageUnavailable for a used home without a database, for one into which a restore was cut off, and for
    one with a saved database in it."""
    place = owned.home / RESTORING
    if place.exists():
        if not settings.database.exists():
            raise errors.StorageUnavailable(
                f"A restore into {owned.home} was interrupted, and nothing of it can be used yet.",
                hint="Say it again: sluice restore FILE; it begins anew by itself.",
            )
        shutil.rmtree(place)  # the database was the last piece: the restore was whole
    refuse_beside_a_rescue(settings.database)
    if owned.home_id and not settings.database.exists():
        raise errors.StorageUnavailable(
            f"{owned.home} has been used, and its database {settings.database.name} is gone.",
            hint=f"Put it back; or, to begin with an empty one: rm {owned.lock}",
        )


async def refuse_copy(database: Database, owned: Ownership, settings: Settings) -> str:
    """Why the home is taken for a copy, of which somebody has said (setting `adopt`) that it may be used; empty when it
    is none. Raises HomeCopied for any other copy."""
    known = await database.read(table.known)
    if known is None:
        return ""
    now = whereabouts.here(owned.home, settings.database)
    why = whereabouts.judge(known.place, now, whereabouts.original(known, owned.home))
    if why and not settings.adopt:
        raise _refusal(known, why, await database.read(table.duties))
    return why


async def settle(database: Database, owned: Ownership, settings: Settings) -> None:
    """Write down where the home is now, in its database and its lock.

    Raises HomeCopied when it is taken for a copy and nobody has said that it may run.
    """
    why = await refuse_copy(database, owned, settings)
    known = await database.read(table.known)
    if known is not None and why:
        log.warning("home_adopted", home=str(owned.home), copied_from=known.place.path, why=why)
    id = clock.token(32) if known is None or why else known.id  # of its own from now on, when it was copied
    now = whereabouts.here(owned.home, settings.database)
    if known != Known(id, now):
        await database.write(table.keep, Known(id, now))
    owned.name(id)


def _refusal(known: Known, why: str, duties: table.Duties) -> errors.HomeCopied:
    return errors.HomeCopied(
        f"This home was copied from {errors.shorten(known.place.path)}, {why}. Engines on both would both keep its"
        f" {duties.deployments} deployments and {duties.jobs} single jobs running with their schedules and triggers,"
        f" end its {duties.runs} open runs, and post its {duties.callbacks} pending callbacks.",
        hint="When the other one is not used any more, or both shall run: start once with 'sluice serve --adopt' (or"
        " sluice-mcp --adopt, or SLUICE_ADOPT=1).",
    )
