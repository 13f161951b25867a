"""What commands read: documents from files or standard input, and k=v values."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import errors
from mcp_server.cli import render

if TYPE_CHECKING:
    from core.documents import Document  # who reads no document does not wait for what reads them

MAX_BYTES = 4 * 1024 * 1024
TEXT_ORIGIN = "<document>"  # what the engine calls a text that it was sent


def text(source: str) -> tuple[str, str]:
    """The text of a document and the name to blame: a path, or `-` for standard input.

    Raises InvalidParams when it cannot be read, is no UTF-8 or is too large.
    """
    name = "<stdin>" if source == "-" else source
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise errors.InvalidParams(
            f"Cannot read {name}: {error.strerror}.", hint="Give a file, or - for stdin."
        ) from None
    if len(raw) > MAX_BYTES:
        raise errors.InvalidParams(f"{name} is larger than {MAX_BYTES} bytes.")
    try:
        return raw.decode("utf-8"), name
    except UnicodeDecodeError as error:
        raise errors.InvalidParams(f"{name} is not UTF-8 at byte {error.start}.") from None


def one(source: str) -> Document:
    """The one YAML or JSON document in a file or on standard input.

    Raises InvalidDocument with file:line:column.
    """
    from core.documents import load

    content, name = text(source)
    found = load(content, origin=name)
    if len(found) > 1:
        raise errors.InvalidDocument(
            f"{name} holds {len(found)} documents, and this command takes one.",
            errors=[errors.Problem("", "a second document begins here", found[1].where(""))],
        )
    return found[0]


@contextlib.contextmanager
def blamed(document: Document) -> Iterator[None]:
    """Add the place in the document to every fault that the engine finds in what it said."""
    try:
        yield
    except errors.SluiceError as error:
        error.errors = tuple(
            problem if problem.where else replace(problem, where=document.where(problem.pointer))
            for problem in error.errors
        )
        raise


@contextlib.contextmanager
def placed(place: Callable[[errors.Problem], errors.Problem]) -> Iterator[None]:
    """Let `place` say where each fault is."""
    try:
        yield
    except errors.SluiceError as error:
        error.errors = tuple(map(place, error.errors))
        raise


@contextlib.contextmanager
def named(source: str) -> Iterator[None]:
    """Say the file's name where the engine, which got its text only, could not."""
    try:
        yield
    except errors.SluiceError as error:
        error.message = error.message.replace(TEXT_ORIGIN, source)
        error.errors = tuple(
            replace(problem, where=(problem.where or "").replace(TEXT_ORIGIN, source) or None)
            for problem in error.errors
        )
        raise


def place(answer: dict[str, Any], source: str) -> None:
    """Say the file's name in an answer that tells of the faults of a text."""
    for told in (*answer.get("errors", ()), *answer.get("warnings", ())):
        if isinstance(told, dict) and told.get("where"):
            told["where"] = told["where"].replace(TEXT_ORIGIN, source)
    if isinstance(answer.get("message"), str):
        answer["message"] = answer["message"].replace(TEXT_ORIGIN, source)


def tell(message: str, source: str) -> None:
    """Print what is said of a document, with the name of what it was read from, once."""
    render.text(message if message.startswith(source) else f"{source}: {message}")


def untold(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The faults in an answer that its message does not tell already."""
    faults = answer.get("errors", ())
    return [one for one in faults if not errors.says(answer["message"], one.get("where"), one["message"])]


def values(pairs: Iterable[str], flag: str = "--set") -> dict[str, Any]:
    """`k=v` pairs as an object; a value that reads as JSON (1, true, null, {...}, "text") is that, else it is text.

    Raises InvalidParams for a pair without `=`.
    """
    return {name: _value(value) for name, value in _split(pairs, flag)}


def texts(pairs: Iterable[str], flag: str) -> dict[str, str]:
    """`k=v` pairs whose values are texts."""
    return dict(_split(pairs, flag))


def numbers(pairs: Iterable[str], flag: str) -> dict[str, int]:
    """`k=n` pairs whose values are whole numbers."""
    out = {}
    for name, value in _split(pairs, flag):
        if not value.isdigit():
            raise errors.InvalidParams(f"{flag} {name}={errors.shorten(value, 40)} is not a whole number.")
        out[name] = int(value)
    return out


def whole(flag: str, text: str) -> int:
    """The whole number that a flag was given. Raises InvalidParams."""
    if not text.isascii() or not text.isdigit():
        raise errors.InvalidParams(f"{flag} {errors.shorten(text, 40)} is not a whole number.")
    return int(text)


def _split(pairs: Iterable[str], flag: str) -> list[tuple[str, str]]:
    out = []
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise errors.InvalidParams(f"{flag} {errors.shorten(pair, 60)} is not NAME=VALUE.")
        out.append((name, value))
    return out


def _value(value: str) -> Any:
    if value[:1] not in '{["-0123456789tfn':
        return value
    from core.documents import canonical

    try:
        return canonical.parse_json(value.encode())
    except errors.SluiceError:
        return value
