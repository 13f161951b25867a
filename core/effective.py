"""Each setting as it is told: its value, where that came from, and what a restart would make of it. No secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from core import errors, precedence, settingsfile
from core.model.results import engine as results
from core.settings import Origin, Settings
from core.settingsfile import SettingsFile

UNSAID = ("worker_groups", *settingsfile.TABLES)  # told with `workers`, and by the names of what is in them


def explain(running: Settings, group: Callable[[str], object | None]) -> results.SettingsTold:
    """The settings of an engine beside what its file says now; `group` finds a worker group."""
    told: results.SettingsTold = {
        "items": [],
        "running": True,
        "file": str(running.home / settingsfile.NAME),
        "restart": [],
        "fault": None,
        "unknown_groups": sorted(name for name in running.group if group(name) is None),
    }
    try:
        file = settingsfile.of_home(running.home)
        later = precedence.after_restart(running, file)
    except errors.SluiceError as error:  # a start would be refused with it
        told["fault"] = error.to_dict()
        file, later = SettingsFile(running.home / settingsfile.NAME), running
    told["items"] = list(_rows(running, later, file))
    told["restart"] = [row["name"] for row in told["items"] if "after_restart" in row]
    return told


def _rows(running: Settings, later: Settings, file: SettingsFile) -> Iterator[results.Setting]:
    now, then = dict(values(running)), dict(values(later))
    for name in dict.fromkeys([*now, *then]):
        value = now.get(name)
        origin = running.origin(name)
        row: results.Setting = {"name": name, "value": value, "source": origin.source, "where": origin.where}
        if origin.source in ("flag", "environment") and (below := _below(name, file)):
            row["overrules"] = below
        if then.get(name) != value:
            row["after_restart"] = then.get(name)
            row["says"] = later.origin(name).where or "the default"
        yield row


def _below(name: str, file: SettingsFile) -> list[str]:
    """Where the file speaks of a setting, for all or for a group."""
    return [
        file.where(at) for at in file.lines if at == name or (at.startswith("group.") and at.split(".")[2:] == [name])
    ]


def values(settings: Settings) -> Iterator[tuple[str, Any]]:
    """The name and value of each setting, as JSON; of a group only what its table says."""
    dumped = settings.model_dump(mode="json", exclude={"serve", "group", "worker_groups"})
    dumped["workers"] = precedence.workers(settings)
    yield from ((name, _without_secrets(value)) for name, value in dumped.items())
    if settings.serve is not None:
        yield from (
            (f"serve.{name}", _without_secrets(value)) for name, value in settings.serve.model_dump(mode="json").items()
        )
    for group, own in settings.group.items():
        for name, value in own.model_dump(mode="json", exclude_unset=True).items():
            yield f"group.{group}.{name}", _without_secrets(value)


def of_told(items: list[results.Setting]) -> Settings:
    """The settings that were told, but for the passwords in them. What is as by default is left out as long as this
    version has the same default."""
    made: dict[str, Any] = {"group": {}}
    usual = dict(values(Settings()))
    for one in items:
        if one["source"] == "default" and one["value"] == usual.get(one["name"]):
            continue
        *table, name = one["name"].split(".")
        place = made
        for part in table:
            place = place.setdefault(part, {})
        place[name] = one["value"]
    known = {name: value for name, value in made.items() if name in Settings.model_fields}
    origins = {one["name"]: Origin(one["source"], one["where"]) for one in items}
    return Settings.model_validate(known).with_origins(origins)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    return settingsfile.hide(value) if isinstance(value, str) else value
