"""The manual for a model: the pages of docs/ that are offered as docs://{page}.

A page is offered when its first line is `<!-- resource: Read it when …. -->`; the sentence is what a list of resources
says about it. The wheel carries docs/*.md as mcp_server/docs. Pages link to each other as files; served, each link is
an address that a client can read as well, and what only a checkout has is text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from core import errors

SCHEME = "docs://"
_OFFERED = re.compile(r"\A<!-- resource: (.+?) -->\n+")
_COMMENT = re.compile(r"^<!--.*?-->\n+", re.MULTILINE)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK_OR_CODE = re.compile(r"`[^`\n]*`|\[(?P<text>[^\]\n]*)\]\((?P<target>[^)\s]+)\)")
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is served: Markdown whose links are addresses, and when to read it."""

    name: str
    title: str
    about: str
    text: str


@functools.cache
def pages() -> Mapping[str, Page]:
    """Every page that is offered, by name, in alphabetical order."""
    files = {entry.name.removesuffix(".md"): entry for entry in _folder().iterdir() if entry.name.endswith(".md")}
    texts = {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}
    about = {name: found[1] for name, text in texts.items() if (found := _OFFERED.match(text)) is not None}
    return {name: _page(name, texts[name], about[name], about.__contains__) for name in about}


def page(uri: str) -> Page:
    """The page that a docs:// address names, with a fragment or without. Raises NotFound for one that is not there."""
    name = uri.removeprefix(SCHEME).partition("#")[0].rstrip("/")
    found = pages().get(name)
    if found is None:
        raise errors.NotFound(
            f"There is no page {errors.shorten(name, 60)} in the manual.", hint=f"Pages: {', '.join(pages())}."
        )
    return found


def linked(text: str, name: str, offered: Callable[[str], bool]) -> str:
    """The text of the page `name` with each link as an address, or as its words where it leads to no page."""

    def address(found: re.Match[str]) -> str:
        target = found["target"]
        if target is None or _ABSOLUTE.match(target):  # code, which holds no links, or an address
            return found[0]
        file, _, anchor = target.partition("#")
        to = file.removesuffix(".md") if file else name
        if (file and not file.endswith(".md")) or not offered(to):
            return found["text"]
        return f"[{found['text']}]({SCHEME}{to}{'#' if anchor else ''}{anchor})"

    parts = _FENCED.split(text)
    return "".join(part if part.startswith("```") else _LINK_OR_CODE.sub(address, part) for part in parts)


def _page(name: str, text: str, about: str, offered: Callable[[str], bool]) -> Page:
    body = _COMMENT.sub("", text)
    title = _TITLE.search(body)
    return Page(name, title[1] if title else name, about, linked(body, name, offered))


def _folder() -> Traversable:
    """Where the pages are: in the package that a wheel installs, else in the checkout beside it."""
    packaged = resources.files("mcp_server") / "docs"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "docs"
