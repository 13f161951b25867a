"""How a paged answer goes on: the `pagination` block of http-poll, as pure decisions about the next request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urljoin

import httpx
from pydantic import Field, model_validator

from core.dsl.component import Config
from core.dsl.events import select
from core.dsl.events.select import MISSING, Selector
from core.errors import JobFailed, shorten

Parameter = Annotated[str, Field(min_length=1, max_length=256)]
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*-]+(?:\s*=\s*(?:"[^"]*"|[^\s,;"]*))?)*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?=[\s;,]|$))', re.IGNORECASE)


class NextUrl(Config):
    """The answer tells the address of the next page; exactly one of field and link-header."""

    field: Selector | None = None
    """The field of a JSON answer that holds the address; missing, null or empty at the last page."""
    link_header: bool = False
    """Take it from the header `Link` with `rel="next"`."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.field is not None) == self.link_header:
            raise ValueError("next-url has exactly one of field and link-header")
        return self


class PageNumber(Config):
    """Pages are counted; a page without events is the last one."""

    parameter: Parameter = "page"
    """The parameter of the address that takes the number."""
    start: int = Field(default=1, ge=0)
    """The number of the first page."""


class Offset(Config):
    """Pages start at a count of events; a page with fewer than `limit` events is the last one."""

    parameter: Parameter = "offset"
    """The parameter of the address that takes the offset."""
    limit_parameter: Parameter = "limit"
    """The parameter of the address that takes the size of a page."""
    limit: int = Field(default=100, ge=1, le=100_000)
    """The size of a page."""
    start: int = Field(default=0, ge=0)
    """The first offset."""


class Cursor(Config):
    """The answer holds a value that the next request gives back; missing, null, false or empty at the last page."""

    field: Selector
    """The field of a JSON answer that holds the cursor."""
    parameter: Parameter = "cursor"
    """The parameter of the address that takes it."""


class Pagination(Config):
    """How to read an answer of several pages: exactly one of next-url, page, offset and cursor."""

    spellings: ClassVar = {"next": "next-url"}

    next_url: NextUrl | None = None
    """Go on at the address that the answer tells; it must be at the same host as the first one."""
    page: PageNumber | None = None
    """Count pages."""
    offset: Offset | None = None
    """Count events."""
    cursor: Cursor | None = None
    """Give back what the answer holds."""
    max_pages: int = Field(default=100, ge=1, le=100_000)
    """Stop after this many pages of one firing; the log tells when there were more."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(one is not None for one in (self.next_url, self.page, self.offset, self.cursor)) != 1:
            raise ValueError("pagination has exactly one of next-url, page, offset and cursor")
        return self

    @property
    def reads_body(self) -> bool:
        """Whether the body of an answer tells where the next page is."""
        return self.cursor is not None or (self.next_url is not None and self.next_url.field is not None)


@dataclass(slots=True)
class Place:
    """Where the next request goes: an address and parameters that are added to it."""

    url: str
    query: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Page:
    """What an answer says about its successor."""

    document: Any  # the parsed JSON, MISSING for any other body
    link: str  # the header Link
    events: int


class Pages:
    """The places of one firing, in order."""

    def __init__(self, config: Pagination | None, url: str) -> None:
        self._config = config
        self._number = 1
        self._seen: set[str] = set()
        self.place: Place | None = Place(url)
        self.cut_short = False  # there is more, but max-pages is reached
        if config is not None and config.page is not None:
            self._at = config.page.start
            self.place = Place(url, {config.page.parameter: str(self._at)})
        elif config is not None and config.offset is not None:
            self._at = config.offset.start
            self.place = self._offset_place(config.offset, url)
        else:
            self._seen.add(url)

    def advance(self, page: Page) -> None:
        """Move to the place after an answer; `place` is None when that was the last one.

        Raises JobFailed for a successor that cannot be followed.
        """
        assert self.place is not None
        following = self._following(page, self.place.url) if self._config is not None else None
        if following is not None and self._config is not None and self._number >= self._config.max_pages:
            following, self.cut_short = None, True
        self._number += 1
        self.place = following

    def _following(self, page: Page, url: str) -> Place | None:
        config = self._config
        assert config is not None
        if config.page is not None:
            self._at += 1
            return Place(url, {config.page.parameter: str(self._at)}) if page.events else None
        if config.offset is not None:
            self._at += page.events
            return self._offset_place(config.offset, url) if page.events >= config.offset.limit else None
        if config.cursor is not None:
            value = _next_page(page, config.cursor.field)
            return Place(url, {config.cursor.parameter: self._new(value)}) if value else None
        assert config.next_url is not None
        link = config.next_url.link_header
        target = next_link(page.link) if link else _next_page(page, config.next_url.field or "")
        return Place(self._new(_same_host(url, target))) if target else None

    def _offset_place(self, offset: Offset, url: str) -> Place:
        return Place(url, {offset.parameter: str(self._at), offset.limit_parameter: str(offset.limit)})

    def _new(self, value: str) -> str:
        if value in self._seen:
            raise JobFailed(f"http-poll: the pages go in a circle: {shorten(value, 120)} came before")
        self._seen.add(value)
        return value


def _next_page(page: Page, field: str) -> str:
    value = select.find(page.document, select.parse(field))
    if value is MISSING or value is None or value is False or value == "":
        return ""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise JobFailed(f"http-poll: {shorten(field)} of the answer should tell the next page, but is no text or number")


def _same_host(url: str, target: str) -> str:
    """The absolute address of a link; what proves the sender must not be carried to another host."""
    absolute = urljoin(url, target)
    try:
        before, after = httpx.URL(url), httpx.URL(absolute)
    except httpx.InvalidURL as error:
        raise JobFailed(f"http-poll: the address of the next page is not valid: {shorten(target, 120)}") from error
    if (before.scheme, before.host, before.port) != (after.scheme, after.host, after.port):
        raise JobFailed(f"http-poll: the next page is at another host ({shorten(after.host, 80)}) and is not followed")
    return absolute


def next_link(header: str) -> str:
    """The address with `rel="next"` in a Link header (RFC 8288), or nothing."""
    return next((target for target, rest in _LINK.findall(header[:16384]) if _NEXT.search(rest)), "")
