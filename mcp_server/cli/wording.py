"""A call or a hint in the words of the command line: as what is typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from mcp_server import directions
from mcp_server.cli import arguments
from mcp_server.cli.form import Form
from mcp_server.cli.forms import FORMS, PARTS

_PLACE = re.compile(r"\{(\w+)\}")
_ARGUMENTS = MappingProxyType(
    {
        # arguments that hints speak of by name
        "approved_by": "--approved-by",
        "base_revision": "--base-revision",
        "dry_run": "--dry-run",
        "new_name": "NEW_NAME",
        "new_slug": "NEW_SLUG",
        "tenant_id": "--tenant",
        "worker_group": "--group",
    }
)


def command(operation: str, given: Mapping[str, Any]) -> str:
    """A call as what a person types, quoted for a shell; an operation without a command is shown as it is."""
    given = {name: value for name, value in given.items() if value is not None}
    form = FORMS.get(operation)
    if operation == "deployment_plan" and "to_revision" in given:
        _, form = PARTS["rollback"]
    elif operation == "deployment_get":
        given.pop("detail", None)  # `sluice status NAME` always shows all
    elif operation == "trigger_invocation_get" and given.pop("wait_seconds", None):
        _, form = PARTS["watch"]
    if form is None:
        return f"{operation} {orjson.dumps(given, default=str).decode()}"
    takes = arguments.of(operation)

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name == "document":
            given.pop(name, None)
            return "FILE"
        if name in given:
            return " ".join(map(shlex.quote, _texts(given.pop(name))))
        return name.upper() if takes[name].required else ""

    words = _PLACE.sub(place, form.typed).split(" ")
    for name, value in given.items():
        words += _flag(form, name, value)
    return " ".join(["sluice", *filter(None, words)])


def _flag(form: Form, name: str, value: Any) -> list[str]:
    flag = form.flag(name)
    if value is True:
        return [flag]
    if value is False or not flag:
        return []
    return [word for text in _texts(value) for word in (flag, shlex.quote(text))]


def _texts(value: Any) -> list[str]:
    """A value as it is typed, once or once for each of its items."""
    if isinstance(value, Mapping):
        return [f"{key}={_text(part)}" for key, part in value.items()]
    return [_text(part) for part in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


_ARGUMENT = re.compile(r"\b(" + "|".join(_ARGUMENTS) + r")\b")


def hint(text: str) -> str:
    """A hint of the engine, which names operations as an agent calls them, with commands in their place."""
    said = directions.reworded(text, FORMS, lambda operation, given: f"'{command(operation, given)}'")
    return _ARGUMENT.sub(lambda found: _ARGUMENTS[found[1]], said)
