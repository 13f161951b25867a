"""Addresses whose host no event chooses, and whose path none leaves: those of calls in the middle of a job.

A value fills one segment of the path, or a part of a parameter: it is percent-encoded with every sign that has a
meaning there (RFC 3986 2.2), and a segment that would be `.` or `..` refuses the event (5.2.4), as one that is missing,
null or empty does.
"""

from __future__ import annotations

from typing import Annotated, TypeVar
from urllib.parse import quote

from pydantic import AfterValidator

from core.dsl.component import Env, Event, Run
from core.dsl.connections.http import Unsendable
from core.dsl.connections.http_auth import check_static_url
from core.dsl.language import needs, templates
from core.guard.addresses import MOST_URL_CHARACTERS
from core.model.letter import Code

T = TypeVar("T")
_OF_EVENTS = ("event", "msg", "stat", "time")  # what others choose than who wrote the document


def check_fixed_host(url: str) -> str:
    """Raises ValueError for an address whose host is filled in from an event or a message, or that holds a secret."""
    check_static_url(url)
    refuse_secrets(url, "the address")
    before = ""
    for part in templates.parse(url):
        if isinstance(part, str):
            before += part
        elif isinstance(part, templates.Lookup) and part.source in _OF_EVENTS:
            if not _host_ends(before) and "{{" not in before:
                raise ValueError(f"${{{part}}} could choose the host; write the host out, and values behind its slash")
            break
        else:
            before += "x"
    return url


def _host_ends(text: str) -> bool:
    return any(end in text.partition("://")[2 if "://" in text else 0] for end in "/?#")


def refuse_secrets(value: T, where: str) -> T:
    """Raises ValueError for a value with `${secret|...}` in one of its texts: addresses and bodies are written down by
    many on their way, headers are not."""
    if isinstance(value, str):
        for part in templates.parse(value):
            if isinstance(part, templates.Lookup) and part.source in templates.SECRET_SOURCES:
                raise ValueError(f"{where} cannot hold the secret ${{{part}}}; give it in headers or with auth")
    elif isinstance(value, dict):
        for inner in value.values():
            refuse_secrets(inner, where)
    elif isinstance(value, list):
        for inner in value:
            refuse_secrets(inner, where)
    return value


FixedHost = Annotated[templates.Text, AfterValidator(check_fixed_host), needs.URL]
"""A document key that holds such an address."""


def address(url: str, env: Env) -> templates.Render:
    """The address as a function of event and run, which raises Unsendable for values that make none."""
    made: list[tuple[str, templates.Render | None, str]] = []  # literal text, or a value and where it is
    before = ""
    for at, part in enumerate(templates.parse(url)):
        behind = before.partition("://")[2 if "://" in before else 0]
        if at == 0:
            place = "begin"
        elif "?" in behind or "#" in behind:
            place = "query"
        else:
            place = "path" if "/" in behind else "host"
        piece = templates.piece(part, env, required=place in ("path", "host"))
        made.append((piece, None, "") if isinstance(piece, str) else ("", piece, place))
        before += piece if isinstance(piece, str) else "x"

    def render(event: Event, run: Run) -> str:
        try:
            parts = [text if value is None else _encoded(value(event, run), place) for text, value, place in made]
        except templates.NoValue as error:
            raise Unsendable(f"{error}, which makes another address", Code.EMPTY_PLACEHOLDER) from error
        filled = "".join(parts)
        if len(filled) > MOST_URL_CHARACTERS:
            raise Unsendable(f"the address has more than {MOST_URL_CHARACTERS} characters")
        if not {".", ".."}.isdisjoint(filled.partition("?")[0].split("/")):
            raise Unsendable(
                "the values make a segment of the address . or .., which is another address", Code.PATH_REFUSED
            )
        return filled

    return render


_SAFE = {"path": "", "query": "", "host": ":[]"}


def _encoded(value: str, place: str) -> str:
    if place == "begin":  # the beginning of the address, which is the operator's
        return value
    return quote(value, safe=_SAFE[place])
