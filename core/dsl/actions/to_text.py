"""The actions pdf-text and docx-to-text: the text of a file that is in an event."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.events import select, values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Each, EventFault, Settled, Waiter, WaitingAction
from core.dsl.language.duration import Duration
from core.dsl.texts.extractor import Extractor
from core.dsl.texts.wire import Bounds, Format, Unreadable
from core.errors import JobFailed

LONGEST_SECONDS = 600.0
MOST_AT_ONCE = 8  # files, whose texts go on before more are read
BETWEEN_PAGES = "\n\n"  # so that a page is a paragraph of its own at least


class ToText(WaitingAction):
    """Base of the actions that read the text of a file."""

    format: ClassVar[Format]

    input_field: Selector = "_raw"
    """The field that holds the file, in base64: what inputs give with `binary: true`, and `http-poll` with
    `payload-mode: binary`."""
    output_field: Selector = "text"
    """The field for the text."""
    error_field: Selector | None = None
    """Put here why a file has no text, and let its event go on; left out: the event is refused."""
    remove: bool = False
    """Remove the input field, which is much longer than the text, when it was read."""
    max_bytes: int = Field(default=16 * 1024 * 1024, ge=1, le=64 * 1024 * 1024)
    """The longest file, in bytes."""
    timeout: Duration = 30.0
    """How long one file may take; at most 10 minutes."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if not 0.1 <= self.timeout <= LONGEST_SECONDS:
            raise ValueError("timeout is from 100ms to 10m")
        return self

    @property
    def bounds(self) -> Bounds:
        return Bounds()

    @property
    def most_at_once(self) -> int:
        return MOST_AT_ONCE

    def store(self, warn: Warn) -> Callable[[Event, list[str]], None]:
        """A function that puts the text of each page into an event. It raises ValueError where there is no place."""
        put = select.setter(select.parse(self.output_field))
        return lambda event, texts: put(event, BETWEEN_PAGES.join(texts))

    def open(self, env: Env, warn: Warn) -> Waiter:
        return _Reading(self, env, warn)

    def each(self, env: Env, warn: Warn) -> Each:
        """The dry form reads the file as well, for that has no effect outside: in a process for each event."""

        async def read(event: Event, run: Run) -> Event:
            reading = _Reading(self, env, warn)
            try:
                return await reading.one(event)
            finally:
                await reading.close()

        def read_apart(event: Event, run: Run) -> Event:
            with ThreadPoolExecutor(1) as thread:  # who calls is in a loop already, and may wait
                return thread.submit(asyncio.run, read(event, run)).result()

        return read_apart


@REGISTRY.register("pdf-text")
class PdfText(ToText):
    """Read the text of a PDF file.

    The file is read in a process of its own that has no files, no network and no rights, with 512 MiB of memory, and
    is killed when it takes too long. What cannot be read is refused, and kept as a dead letter: a file that is broken,
    encrypted with a password, too long, or without any text, as when its pages are pictures of a scanner (there is no
    OCR). That some of its pages have no text is a warning. Needs the library pypdf (`sluice-mcp[documents]`).
    """

    format: ClassVar = Format.PDF
    example: ClassVar[str] = """
name: manuals
input:
  file-store: {path: manuals, include-regex: ['\\.pdf$'], binary: true, object-name-field: file}
actions:
  - pdf-text: {remove: true, pages-field: pages}
  - chunk: {input-field: text, size: 800, overlap: 100, output: events, index-field: chunk, remove: true}
output: {print: STDOUT}
"""

    output: Literal["text", "pages"] = "text"
    """`text`: one text, with an empty line between pages; `pages`: an array with the text of each page."""
    pages_field: Selector | None = None
    """Put the number of pages here."""
    empty_pages_field: Selector | None = None
    """Put here which pages have no text: an array of numbers, from 1. It takes the place of the warning."""
    max_pages: int = Field(default=1000, ge=1, le=100_000)
    """The most pages; a file with more is refused."""

    @property
    def bounds(self) -> Bounds:
        return Bounds(pages=self.max_pages)

    def store(self, warn: Warn) -> Callable[[Event, list[str]], None]:
        put = select.setter(select.parse(self.output_field))
        joined, fields = self.output == "text", (self.pages_field, self.empty_pages_field)
        put_count, put_empty = (select.setter(select.parse(one)) if one is not None else None for one in fields)

        def store(event: Event, texts: list[str]) -> None:
            empty = [number for number, text in enumerate(texts, 1) if not text.strip()]
            put(event, BETWEEN_PAGES.join(texts) if joined else texts)
            if put_count is not None:
                put_count(event, len(texts))
            if put_empty is not None:
                put_empty(event, empty)
            elif empty:
                named = ", ".join(map(str, empty[:10])) + (", …" if len(empty) > 10 else "")
                warn(f"{len(empty)} of {len(texts)} pages have no text: {named}")

        return store


@REGISTRY.register("docx-to-text")
class DocxToText(ToText):
    """Read the text of a Word file (.docx): paragraphs with an empty line after each, tables a line for each row with
    tabs between the cells, footnotes and endnotes at the end.

    Headers and footers, comments, deleted text and pictures are left out. It is read and bounded like `pdf-text`, and
    refused in the same way: a file that is broken, encrypted, too long, unpacks to more than 64 MiB in one of its
    parts, declares entities, or has no text. Files of Word before 2007 (.doc) are not read.
    """

    format: ClassVar = Format.DOCX
    example: ClassVar[str] = """
name: letters
input:
  file-store: {path: letters, include-regex: ['\\.docx$'], binary: true, object-name-field: file}
actions:
  - docx-to-text: {remove: true}
output: {print: STDOUT}
"""


class _Reading:
    """Reads the files of a job, one after the other."""

    def __init__(self, config: ToText, env: Env, warn: Warn) -> None:
        if config.format is Format.PDF and importlib.util.find_spec("pypdf") is None:
            raise JobFailed(
                "pdf-text needs the library pypdf, which is not installed on this worker",
                hint="pip install 'sluice-mcp[documents]'",
            )
        path, error_field = select.parse(config.input_field), config.error_field
        self._config = config
        self._env = env
        self._get, self._take = select.getter(path), select.remover(path)
        self._put = config.store(warn)
        self._put_error = select.setter(select.parse(error_field)) if error_field is not None else None
        self._extractor = Extractor(config.format, confined=env.limits.confined)

    async def work(self, events: list[Event], run: Run, on_settled: Callable[[Settled], None]) -> list[Event | None]:
        out: list[Event | None] = []
        for event in events:
            try:
                out.append(await self.one(event))
            except (EventFault, ValueError) as error:
                text = f"{self._config.name}: {error}; the event is refused"
                run.fail(self._env, text, _with_last(event, self._config.input_field))
                out.append(None)
        return out

    async def one(self, event: Event) -> Event:
        """Read one file. Raises EventFault, ValueError when the event has no place for the text."""
        config, content = self._config, self._get(event)
        try:
            if type(content) is not str:
                found = "missing" if content is MISSING else f"a {values.kind(content)} and not a text in base64"
                raise Unreadable(f"is {found}")
            if len(content) * 3 > (config.max_bytes + 3) * 4:  # line breaks in it count
                raise Unreadable(f"is longer than {config.max_bytes} bytes")
            data = content.encode(errors="replace")
            texts = await self._extractor.texts_of(data, config.bounds, config.timeout)
        except Unreadable as error:
            told = f"{config.input_field} {error}"
            if self._put_error is None:
                raise EventFault(told) from None
            self._put_error(event, told)
            return event
        if config.remove:
            self._take(event)
        self._put(event, texts)
        return event

    async def close(self) -> None:
        self._extractor.close()


def _with_last(event: Event, field: str) -> dict[str, Any]:
    """The same event with a field at its end, so that a letter which is cut keeps what tells the file."""
    if field not in event:
        return event
    return {**{name: value for name, value in event.items() if name != field}, field: event[field]}
