"""How documents name secrets: `${secret|scope/name}`, `${secrets.name}` and `${cred|id}` are all one kind of thing."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

import orjson

from core.errors import JobFailed, shorten
from core.model.principal import DEFAULT_TENANT

DEFAULT_SCOPE = "default"
CREDENTIALS = "cred"  # the scope that ${cred|id} looks in

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
NAME_PATTERN = rf"^(?:{_PART}/)?{_PART}$"
_PARTS = re.compile(rf"(?:({_PART})/)?({_PART})")


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """One secret, and with `field` one key of it (its value is then a JSON object)."""

    scope: str
    name: str
    field: str = ""

    @property
    def secret(self) -> str:
        """The full name, as people write it: scope/name."""
        return f"{self.scope}/{self.name}"


def parse(source: str, text: str) -> Reference:
    """The secret that `${source|text}` means; `source` is secret or cred.

    A secret without a scope is in the scope `default`. Raises ValueError that says what is allowed.
    """
    if source == CREDENTIALS:
        id, bar, field = text.partition("|")
        found = _PARTS.fullmatch(id.strip())
        if found is None or found[1] is not None or (bar and not field.strip()):
            raise ValueError(f"${{cred|{shorten(text, 60)}}} is not known; write ${{cred|ID}} or ${{cred|ID|KEY}}")
        return Reference(CREDENTIALS, found[2], field.strip())
    return named(text)


def named(text: str) -> Reference:
    """The secret of a name, `name` or `scope/name`. Raises ValueError that says what is allowed."""
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{shorten(text, 60)!r} is not the name of a secret: write scope/name or name, each 1 to 100 of "
            "a-z, A-Z, 0-9, _ . and -"
        )
    return Reference(found[1] or DEFAULT_SCOPE, found[2])


def command(name: str, tenant: str) -> str:
    """What a person types to set a secret; its value is read from standard input."""
    of = "" if tenant == DEFAULT_TENANT else f" --tenant {shlex.quote(tenant)}"
    return f"sluice secret set {shlex.quote(name)}{of}"


def part(value: str, wanted: Reference) -> str:
    """One key of a secret whose value is a JSON object. Raises JobFailed, which tells nothing of the value."""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise JobFailed(f"the secret {wanted.secret} is no JSON object, so it has no key {wanted.field}")
    if wanted.field not in found:
        raise JobFailed(f"the secret {wanted.secret} has no key {shorten(wanted.field, 60)}")
    inner = found[wanted.field]
    return inner if isinstance(inner, str) else orjson.dumps(inner).decode()
