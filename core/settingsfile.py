"""sluice.toml in the home: what this engine is told at each of its starts. Its text becomes values with their lines."""

from __future__ import annotations

import json
import os
import re
import stat
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pydantic

from core import errors, pointers
from core.settings import GROUP_PATTERN, Group, Serve, Settings

NAME = "sluice.toml"
TABLES = ("serve", "group")
MAX_BYTES = 256 * 1024
# What has no place in it: where it is, what it follows from, and a consent, which is for one start.
_ELSEWHERE = {
    "home": "says where this file is: use --home or SLUICE_HOME",
    "adopt": "is for one start: use --adopt",
    "worker_groups": "is said with workers: workers = 'default=2,etl=1'",
}
_INTRODUCTION = """\
# What this engine is told at each start; `sluice settings` shows what the running one has.
# A line that begins with # and a name is the default: take the # away to change it. Flags and SLUICE_* variables of
# `sluice serve` go before this file. chmod 600, or it is refused.
"""
_SECRET = re.compile(r"//[^/@\s'\"]+@")
_TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a text in quotes",
    "array": "a list",
    "object": "a table",
}
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What the file of a home says; nothing, where there is none."""

    path: Path
    data: Mapping[str, Any] = field(default_factory=dict)
    """As it is written, checked; paths are absolute."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Name, such as `workers` or `group.etl.allow_exec` -> line."""

    def where(self, name: str) -> str:
        """`file:line` of a setting."""
        return f"{self.path}:{self.lines[name]}"


def of_home(home: Path) -> SettingsFile:
    """The settings that a home keeps. Raises StorageUnavailable (others can read or write it, it cannot be read) and
    InvalidDocument (with every fault and its line)."""
    path = home / NAME
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return SettingsFile(path)
    except OSError as error:
        raise errors.StorageUnavailable(
            f"{path} cannot be read: {error.strerror}.",
            hint="Run as the account that owns it, or point --home (SLUICE_HOME) at a directory of your own.",
        ) from None
    try:
        found = os.fstat(handle)
        raw = os.read(handle, MAX_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
    finally:
        os.close(handle)
    if not stat.S_ISREG(found.st_mode):
        raise errors.StorageUnavailable(f"{path} is no file.", hint="Put the settings there, or take it away.")
    if found.st_mode & 0o077 or found.st_uid not in (os.geteuid(), 0):
        whose = f"mode {stat.S_IMODE(found.st_mode):04o}, user id {found.st_uid}"
        raise errors.StorageUnavailable(
            f"Others can read or write {path} ({whose}), which says what jobs may do.", hint=f"chmod 600 {path}"
        )
    if len(raw) > MAX_BYTES:
        raise errors.InvalidSettings(f"{path} is larger than {MAX_BYTES} bytes.")
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> SettingsFile:
    """The settings in the text of a file. Raises InvalidDocument."""
    try:
        text = raw.decode("utf-8")
        data = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        place, what = str(path), errors.shorten(str(error), 200)
        if at := _AT.search(what):
            what = what[: at.start()]
            place = f"{path}:{at[1]}:{at[2]}" if at[1] else f"{path}:{text.count(chr(10)) + 1}"
        raise errors.InvalidSettings(
            f"{path} is not valid TOML.",
            hint="The same name stands twice."
            if "overwrite" in what
            else "A text stands in quotes, a list in brackets: egress_allow = ['10.0.0.5'].",
            errors=[errors.Problem("", what[:1].lower() + what[1:], place)],
        ) from None
    lines = dict(_lines(text))
    problems = sorted(_problems(data, lines, path), key=lambda one: _line(one.where or ""))
    if problems:
        raise errors.InvalidSettings(
            f"{path} is not valid: {len(problems)} {'fault' if len(problems) == 1 else 'faults'}.",
            hint="docs/settings.md has every setting; 'sluice settings --template' prints a file to start from.",
            errors=problems,
        )
    return SettingsFile(path, _absolute(data, path.parent), lines)


def _problems(data: Mapping[str, Any], lines: Mapping[str, int], path: Path) -> Iterator[errors.Problem]:
    from core.documents import lint  # it takes time to import, and a command that attaches reads no settings

    def where(pointer: str) -> str:
        parts = pointers.split(pointer)
        while parts and (name := ".".join(parts)) not in lines:
            parts = parts[:-1]
        return f"{path}:{lines[name]}" if parts else str(path)

    for name in _ELSEWHERE.keys() & data.keys():
        yield errors.Problem(f"/{name}", f"{name} {_ELSEWHERE[name]}", where(f"/{name}"))
    here = {name: value for name, value in data.items() if name not in _ELSEWHERE}
    schema = Settings.model_json_schema()
    typed = dict(_mistyped(here, schema, schema["$defs"], ""))
    yield from (errors.Problem(pointer, words, where(pointer)) for pointer, words in typed.items())
    try:
        Settings.model_validate({"data_root": "/", **here})  # its default is made of what is valid
    except pydantic.ValidationError as error:
        for one in lint.problems_of(error, Settings, where, data=here):
            if one.pointer not in typed:
                yield errors.Problem(one.pointer, hide(one.message), one.where, one.pattern)


def _mistyped(value: Any, node: Mapping[str, Any], defs: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """Values of another type than the schema says, each with its pointer; the model would take '2' for a number, and 1
    for true. Keys that are not in the schema are told by the model."""
    nodes = [defs[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in node.get("anyOf", [node])]
    types = {one["type"] for one in nodes} | ({"string"} if at == "/workers" else set())
    if _type_of(value) not in types and not ("number" in types and _type_of(value) == "integer"):
        words = " or ".join(sorted(_TYPES[one] for one in types if one != "null"))
        yield at, f"must be {words}; found {errors.shorten(hide(repr(value)), 80)}"
        return
    for one in nodes:
        if isinstance(value, dict) and one["type"] == "object":
            for key, inner in value.items():
                known = one.get("properties", {}).get(key) or next(
                    iter(one.get("patternProperties", {}).values()), None
                )
                if known is not None:
                    yield from _mistyped(inner, known, defs, f"{at}{pointers.join([key])}")
        elif isinstance(value, list) and one["type"] == "array":
            for number, inner in enumerate(value):
                yield from _mistyped(inner, one["items"], defs, f"{at}/{number}")


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    found = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return found.get(type(value), "date")


def _line(where: str) -> int:
    tail = where.rpartition(":")[2]
    return int(tail) if tail.isdigit() else 0


def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    made = Settings.model_json_schema()
    for name in _ELSEWHERE:
        del made["properties"][name]
    workers = made["properties"]["workers"]
    number = {name: workers.pop(name) for name in ("type", "minimum", "maximum")}
    workers["anyOf"] = [number, {"type": "string", "pattern": f"^{GROUP_PATTERN}=[0-9]+(,{GROUP_PATTERN}=[0-9]+)*$"}]
    return made


def template() -> str:
    """A file to start from: every setting with what it means and its default, as comments."""
    tables = (("", Settings), ("serve", Serve), ("group.etl", Group))
    return _INTRODUCTION + "".join(f"{_header(table, model)}{''.join(_samples(model))}" for table, model in tables)


def _header(table: str, model: type[pydantic.BaseModel]) -> str:
    return f"\n# [{table}]  # {' '.join((model.__doc__ or '').partition(chr(10))[0].split())}\n" if table else ""


def _samples(model: type[pydantic.BaseModel]) -> Iterator[str]:
    for name, told in model.model_fields.items():
        if name not in (*_ELSEWHERE, *TABLES):
            default = {"data_root": "/srv/data"}.get(name, told.default)
            value = "FILE.pem" if default is None else list(default) if isinstance(default, tuple) else default
            meaning = textwrap.wrap(" ".join((told.description or "").split()), 110)
            yield "".join(f"\n## {line}" for line in meaning) + f"\n# {name} = {json.dumps(value)}\n"


def hide(text: str) -> str:
    """A text without the credentials of the addresses in it."""
    return _SECRET.sub("//***@", text)


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Where each key and table begins. A statement is as many lines as it takes to be valid TOML by itself."""
    table: list[str] = []
    start, statement = 0, ""
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        start, statement = (start, statement + line) if statement else (number, line)
        try:
            said = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        header = statement.lstrip().startswith("[")
        path = [] if header else list(table)
        statement = ""
        while isinstance(said, dict) and len(said) == 1:
            (key, said), *_ = said.items()
            path.append(key)
            yield ".".join(path), start
        if header:
            table = path
        elif isinstance(said, dict):
            yield from ((".".join([*path, key]), start) for key in said)


def _absolute(data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The data with paths that start at the directory of the file: where a service is started is anybody's guess."""
    made = {name: _path(value, base) if _is_path(Settings, name) else value for name, value in data.items()}
    if "serve" in made:
        table = made["serve"].items()
        made["serve"] = {name: _path(value, base) if _is_path(Serve, name) else value for name, value in table}
    return made


def _is_path(model: type[pydantic.BaseModel], name: str) -> bool:
    annotation = model.model_fields[name].annotation
    return Path in (annotation, *get_args(annotation))


def _path(value: Any, base: Path) -> Any:
    return [_path(one, base) for one in value] if isinstance(value, list) else str(base / Path(value).expanduser())
