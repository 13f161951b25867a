"""Which of what was said about a setting counts: a flag, else the environment, else sluice.toml, else the default.

That is so for what an operator starts (`sluice serve`, `sluice worker`), and for a command that answers from a home
without an engine, since it starts nothing. An MCP server that becomes the engine because none runs has the settings of
the home: what happens to stand in a shell must not change what jobs may do, nor where they run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core import homes, settingsfile
from core.settings import Origin, Serve, Settings
from core.settingsfile import SettingsFile

VARIABLES = "SLUICE_"
OF_A_SHELL = ("home", "log_level")  # what the environment says to everyone
SERVE_WORKERS = 2  # of `sluice serve`, when nothing else is said


def of_operator(
    flags: Mapping[str, Any], serve: Mapping[str, Any] | None = None, variables: Mapping[str, str] | None = None
) -> Settings:
    """The settings of a process that an operator starts; a flag that is None was not given. `serve` are the flags of
    `sluice serve` alone (None: it is not that one), and `variables` names the flags that the environment gave.

    Raises pydantic.ValidationError (a flag or a variable does not fit) and like settingsfile.of_home.
    """
    flagged = {name: value for name, value in flags.items() if value is not None}
    place = homes.named(flagged.get("home"))
    file = settingsfile.of_home(place.expanduser())
    given = {**_environment(), **flagged, "home": place}
    served = None if serve is None else {name: value for name, value in serve.items() if value is not None}
    named = {f"{VARIABLES}{name.upper()}" for name in _environment()}
    by = {name: _given(name, flagged, (variables or {}).get(name), named) for name in given}
    if place == homes.named(None):  # a flag that says what would be so anyway
        by["home"] = _given("home", {}, None, named)
    by |= {f"serve.{name}": _given(name, served or {}, (variables or {}).get(name), named) for name in served or ()}
    usual = {} if serve is None else {"workers": SERVE_WORKERS}
    return _settled(file, given, served, by, usual)


def of_shell(home: Path) -> Settings:
    """What `sluice serve` without flags would have in this shell. Raises like `of_operator`."""
    serve: dict[str, Any] = {}
    for name, field in Serve.model_fields.items():
        if raw := os.environ.get(VARIABLES + name.upper()):
            many = raw.replace(",", " ").split()
            serve[name] = tuple(many) if "tuple" in str(field.annotation) else raw
    return of_operator({"home": home}, serve, {name: VARIABLES + name.upper() for name in serve})


def of_home(place: Path, **given: Any) -> Settings:
    """The settings of a home whatever the environment says, but for OF_A_SHELL. Raises like settingsfile.of_home."""
    file = settingsfile.of_home(place.expanduser())
    said = {name: value for name, value in _environment().items() if name in OF_A_SHELL}
    said |= {name: value for name, value in given.items() if value is not None} | {"home": place}
    named = {VARIABLES + name.upper() for name in OF_A_SHELL if os.environ.get(VARIABLES + name.upper())}
    flags = {name for name, value in given.items() if value is not None}
    by = {name: _given(name, dict.fromkeys(flags), None, named) for name in said}
    return _settled(file, said, None, by, {})


def of_visitor(flag: Path | None) -> Settings:
    """What a command needs before it knows whether an engine runs: where the home is, and what to log."""
    said = {name: value for name, value in _environment().items() if name in OF_A_SHELL}
    return Settings.model_validate({**said, "home": homes.named(flag)})


def unheeded() -> list[str]:
    """The variables of settings that are set here, and count for nobody but a process that an operator starts."""
    return sorted(VARIABLES + name.upper() for name in _environment() if name not in OF_A_SHELL and name != "adopt")


def after_restart(running: Settings, file: SettingsFile) -> Settings:
    """What an engine would have that was started anew with the same flags and variables, and with this file."""
    given: dict[str, Any] = {}
    by: dict[str, Origin] = {}
    for name in Settings.model_fields:
        if (origin := running.origin(name)).source in ("flag", "environment"):
            given[name], by[name] = _said(running, name), origin
    served = None
    if running.serve is not None:
        served = {}
        for name in Serve.model_fields:
            if (origin := running.origin(f"serve.{name}")).source in ("flag", "environment"):
                served[name], by[f"serve.{name}"] = getattr(running.serve, name), origin
    usual = {} if running.serve is None else {"workers": SERVE_WORKERS}
    return _settled(file, {**given, "home": running.home}, served, by, usual)


def workers(settings: Settings) -> int | str:
    """How many workers, as it is written: a number, or one for each group."""
    groups = settings.worker_groups
    if not groups:
        return settings.workers
    return ",".join(f"{name}={groups.count(name)}" for name in dict.fromkeys(groups))


def _said(settings: Settings, name: str) -> Any:
    return workers(settings) if name == "workers" else getattr(settings, name)


def _environment() -> dict[str, Any]:
    """What SLUICE_* variables say of settings; an empty one is one that is not set."""
    found: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        raw = os.environ.get(VARIABLES + name.upper())
        if raw and name not in settingsfile.TABLES:
            parts = [part.strip() for part in raw.split(",")]
            found[name] = [part for part in parts if part] if "tuple" in str(field.annotation) else raw
    return found


def _given(name: str, flags: Mapping[str, Any], variable: str | None, named: set[str]) -> Origin:
    """Where a value came from that stands above the file; a flag may have come from a variable of its own name."""
    if name in flags:
        return Origin("environment", variable) if variable else Origin("flag")
    whole = VARIABLES + name.upper()
    return Origin("environment", whole) if whole in named else Origin()


def _settled(
    file: SettingsFile,
    given: Mapping[str, Any],
    served: Mapping[str, Any] | None,
    by: Mapping[str, Origin],
    usual: Mapping[str, Any],
) -> Settings:
    """The settings of all layers. What is `given` stands above the whole file, the tables of groups in it as well."""
    origins = dict(by)
    values: dict[str, Any] = {**usual, **{n: v for n, v in file.data.items() if n not in settingsfile.TABLES}, **given}
    tables: dict[str, dict[str, Any]] = {}
    for group, table in file.data.get("group", {}).items():
        tables[group] = {name: value for name, value in table.items() if name not in given}
    if served is not None:
        values["serve"] = {**file.data.get("serve", {}), **served}
    for name in file.lines:
        top, _, rest = name.partition(".")
        if name in origins or (top == "group" and rest.partition(".")[2] in given):
            continue
        if not rest or top == "group" or served is not None:
            origins[name] = Origin("file", file.where(name))
    settled = Settings.model_validate({**values, "group": tables}).with_origins(origins)
    keys = (file.data.get("serve", {}).get(name) for name in ("tls_cert", "tls_key"))
    # The file itself may be a link to another place; its keys are hidden also where nobody serves with them.
    return settled.hiding(file.path, *(Path(key) for key in keys if key))
