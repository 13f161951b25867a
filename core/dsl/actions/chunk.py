"""The chunk action: a long text to pieces of a bounded size."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.dsl.actions.copies import MAX_EVENTS, copier
from core.dsl.component import REGISTRY, Env, Event, Run
from core.dsl.events import select, values
from core.dsl.events.codegen import Warn
from core.dsl.events.select import MISSING, Selector
from core.dsl.language.action import Action, Each, EventFault

MAX_CHARACTERS = 64 * 1024 * 1024  # of all pieces of one text; an overlap repeats what it covers

Span = tuple[int, int]
Unit = Literal["characters", "tokens", "sentences", "paragraphs"]

_SIZES: dict[Unit, int] = {"characters": 1000, "tokens": 200, "sentences": 5, "paragraphs": 1}
_TOKEN = re.compile(r"\w+|[^\w\s]")
# The look-behind and the possessive repeats make every run of stops be looked at once only.
_SENTENCE_END = re.compile(r"""(?<![.!?…。！？])[.!?…。！？]++["'”’)\]]*+(?=\s|$)|[。！？]""")
_PARAGRAPH_END = re.compile(r"\n[^\S\n]*+\n\s*+")


@REGISTRY.register("chunk")
class Chunk(Action):
    """Cut a text into pieces of `size` units, which may overlap.

    Pieces are exact parts of the text, without white space at their ends; empty ones are left out. A sentence ends at
    . ! ? and the like before white space (so also after an abbreviation), a paragraph at an empty line, and a token is
    a word or a sign. A field that is missing or no text leaves the event as it is, with a warning. More than 1,000,000
    pieces, or 64 Mi characters in all, refuse the event: it is dropped and counted.
    """

    splits: ClassVar[bool] = True
    example: ClassVar[str] = """
name: pieces
input: {echo: {event: '{"body": "One is short. Two is longer! Is three? Yes."}', json: true}}
actions:
  - chunk: {input-field: body, output-field: chunks, by: sentences, size: 2, overlap: 1}
output: {print: STDOUT}
"""

    input_field: Selector = "_raw"
    """The field that holds the text."""
    output_field: Selector = "chunks"
    """The field for the array of pieces, or with `output: events` for the piece."""
    by: Unit = "characters"
    """What `size` and `overlap` count."""
    size: int | None = Field(default=None, ge=1, le=10_000_000)
    """Units in a piece. Left out: 1000 characters, 200 tokens, 5 sentences or 1 paragraph."""
    overlap: int = Field(default=0, ge=0)
    """Units that a piece shares with the one before it."""
    output: Literal["array", "events"] = "array"
    """`array`: one event with all pieces; `events`: one event for each, with the other fields copied."""
    index_field: Selector | None = None
    """With `output: events`, a field for the place of the piece, from 0."""
    remove: bool = False
    """Remove the input field when it was cut."""

    @model_validator(mode="after")
    def _moves_on(self) -> Self:
        if self.overlap >= (self.size or _SIZES[self.by]):
            raise ValueError(f"overlap must be smaller than size ({self.size or _SIZES[self.by]})")
        return self

    def each(self, env: Env, warn: Warn) -> Each:
        path = select.parse(self.input_field)
        get, take, field = select.getter(path), select.remover(path), self.input_field
        store = select.setter(select.parse(self.output_field))
        place = select.setter(select.parse(self.index_field)) if self.index_field is not None else None
        size, overlap, spans = self.size or _SIZES[self.by], self.overlap, _SPANS[self.by]
        several, remove = self.output == "events", self.remove

        def chunk(event: Event, run: Run) -> Event | list[Event]:
            text = get(event)
            if type(text) is not str:
                warn(f"{field} is {'missing' if text is MISSING else f'a {values.kind(text)} and not a text'}")
                return event
            pieces = _pieces(text, spans, size, overlap)
            if remove:
                take(event)
            if not several:
                store(event, pieces)
                return event
            copy = copier(event, len(pieces))
            out = []
            for index, piece in enumerate(pieces):
                made = copy()
                store(made, piece)
                if place is not None:
                    place(made, index)
                out.append(made)
            return out

        return chunk


def _pieces(text: str, spans: Callable[[str], list[Span]] | None, size: int, overlap: int) -> list[str]:
    units = spans(text) if spans is not None else None
    count = len(units) if units is not None else len(text)
    if count // (size - overlap) > MAX_EVENTS:
        raise EventFault(f"the text would become more than {MAX_EVENTS} pieces")
    out: list[str] = []
    total = 0
    for at in range(0, max(count - overlap, min(count, 1)), size - overlap):
        if units is None:
            piece = text[at : at + size].strip()
        else:
            piece = text[units[at][0] : units[min(at + size, count) - 1][1]].strip()
        total += len(piece)
        if total > MAX_CHARACTERS:
            raise EventFault(f"the pieces of the text have more than {MAX_CHARACTERS} characters")
        if piece:
            out.append(piece)
    return out


def _tokens(text: str) -> list[Span]:
    return [match.span() for match in _TOKEN.finditer(text)]


def _between(text: str, ends: re.Pattern[str]) -> list[Span]:
    """The parts that the matches end, without those that are blank."""
    spans: list[Span] = []
    start = 0
    for at in [*(match.end() for match in ends.finditer(text)), len(text)]:
        if text[start:at].strip():
            spans.append((start, at))
            start = at
    return spans


_SPANS: dict[Unit, Callable[[str], list[Span]] | None] = {
    "characters": None,
    "tokens": _tokens,
    "sentences": lambda text: _between(text, _SENTENCE_END),
    "paragraphs": lambda text: _between(text, _PARAGRAPH_END),
}
