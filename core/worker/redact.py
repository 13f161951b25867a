"""Masks secrets in what a worker says about its jobs: logs, reasons, messages, results, its own stderr.

It knows the values that the worker was given, and the forms in which they travel: JSON, URL and Python escapes,
base64 at any offset, hex. It cannot know what a job made of a value by computing with it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

import orjson

MASK = "***"
CUT = "…"  # where errors.shorten has cut a text
LEAST_CHARACTERS = 4  # of a value that is masked: shorter ones are found everywhere
LEAST_ENCODED = 6  # of an encoded form, for the same reason
LEAST_DIGITS = 6  # of a value that is masked where it has become a number
LEAST_LINE = 8  # of one line of a value with several


class Redactor:
    """The values that one tenant's jobs were given on one worker. A value once known stays known: texts are late."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._forms: dict[str, str] = {}  # as they are looked for in small letters -> themselves; the longest first
        self.longest = 0  # characters of a form

    def learn(self, value: str) -> None:
        """Mask this value from now on."""
        if value in self._values:
            return
        self._values.add(value)
        known = {*self._forms.values(), *forms(value)}
        # The longest one comes first, so that a value that contains another one is masked whole.
        longest_first = sorted(known, key=lambda form: (-len(form), form))
        self._forms = {form.lower(): form for form in longest_first}
        self.longest = max(map(len, longest_first), default=0)

    def text(self, text: str) -> str:
        """The text with every known value masked, also where a text was cut in the middle of one."""
        if (pattern := self._pattern(text)) is not None:
            text = pattern.sub(MASK, text)
        return text if CUT not in text else CUT.join(map(self._without_beginning, text.split(CUT)))

    def beginning(self, text: str, most: int) -> str:
        """The first `most` characters of `text(text)` or fewer, for what does not depend on how long the text is.

        A value that begins within them is masked whole; what comes behind is not read, but for the end of that value.
        """
        if len(text) <= most:
            return self.text(text)[:most]
        window = text[: most + self.longest]  # no value that begins before the cut ends behind this
        end = most
        if (pattern := self._pattern(window)) is not None:
            for found in pattern.finditer(window):
                if found.start() < most:
                    end = max(end, found.end())
        return self.text(window[:end])[:most]

    def _pattern(self, text: str) -> re.Pattern[str] | None:
        """Of the forms that are in a text, in any case, since host names and hex digits come back in another one; None
        when there are none. To look for a text is a thousand times as fast as to try a pattern of all of them."""
        if len(text) < LEAST_CHARACTERS:
            return None
        plain, low = text.isascii(), text.lower()
        if not plain:  # a pattern that ignores case takes these two for letters of ASCII
            low = low.replace("\u017f", "s").replace("\u0131", "i")
        # Small letters beyond ASCII may depend on their neighbours: those forms are left to the pattern.
        found = [form for small, form in self._forms.items() if (small in low if form.isascii() else not plain)]
        return re.compile("|".join(map(re.escape, found)), re.IGNORECASE) if found else None

    def may_be_in(self, json: str) -> bool:
        """Whether a JSON text holds a known value, in a form that may be escaped once more; for a value that has none
        `value` changes nothing."""
        low = json.lower()
        return any(not form.isascii() or _escaped(small) in low for small, form in self._forms.items())

    def _without_beginning(self, text: str) -> str:
        """The text without the beginning of a value at its end."""
        low, end = text.lower(), len(text)
        for form in self._forms:
            at = low.find(form[:LEAST_CHARACTERS], max(0, len(low) - len(form)))
            while at >= 0 and not form.startswith(low[at:]):
                at = low.find(form[:LEAST_CHARACTERS], at + 1)
            end = min(end, at) if at >= 0 else end
        return text if end == len(text) else text[:end] + MASK

    def value(self, value: Any) -> Any:
        """A JSON value (or anything that has a repr) with every known value masked, also in keys and as a number."""
        if not self._forms:
            return value
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.value(key): self.value(inner) for key, inner in value.items()}
            case list() | tuple():
                return [self.value(inner) for inner in value]
            case None | bool():
                return value
            case int() | float():
                return MASK if len(str(value)) >= LEAST_DIGITS and str(value) in self._values else value
            case _:
                return self.text(repr(value))


def _escaped(form: str) -> str:
    """A form as it is inside a text of JSON."""
    return orjson.dumps(form).decode()[1:-1] if not form.isalnum() else form


def forms(value: str) -> Iterator[str]:
    """The texts that give a value away."""
    if len(value) < LEAST_CHARACTERS:
        return
    lines = value.splitlines()
    for plain in {value, value.strip(), *(line for line in lines if len(lines) > 1 and len(line) >= LEAST_LINE)}:
        if len(plain) < LEAST_CHARACTERS:
            continue
        yield plain
        raw = plain.encode("utf-8", "surrogatepass")
        encoded = [
            orjson.dumps(plain).decode()[1:-1] if plain.isprintable() or _is_text(plain) else "",
            json.dumps(plain)[1:-1],
            ascii(plain)[1:-1],
            repr(plain)[1:-1],
            quote(plain, safe=""),
            quote(plain),
            quote_plus(plain),
            quote_plus(plain, safe="/"),
            raw.hex(),
            raw.hex().upper(),
            *_base64(raw),
        ]
        # A text inside JSON inside JSON, as in an event that carries a document.
        encoded.append(encoded[0].replace("\\", "\\\\").replace('"', '\\"'))
        yield from (form for form in encoded if len(form) >= max(LEAST_ENCODED, min(len(plain), 32)))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(raw: bytes) -> Iterator[str]:
    """Base64 of the value, alone and at each of the three offsets inside something longer (only the digits that depend
    on nothing but the value)."""
    yield base64.b64encode(raw).decode()
    yield base64.urlsafe_b64encode(raw).decode()
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + raw).decode()
        first = (offset * 8 + 5) // 6
        last = (offset + len(raw)) * 8 // 6
        inner = text[first:last]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


class Stream:
    """A text stream that masks what is written; for the stderr of a worker process."""

    def __init__(self, inner: TextIO, redactors: dict[str, Redactor]) -> None:
        self._inner = inner
        self._redactors = redactors

    def write(self, text: str) -> int:
        clean = text
        for redactor in tuple(self._redactors.values()):
            clean = redactor.text(clean)
        self._inner.write(clean)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
