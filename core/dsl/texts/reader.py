"""The process that reads the files which come over its standard input; core.dsl.texts.extractor starts it.

It loads what it needs, then gives up everything else (core.confinement.computing), says that it is ready, and answers
until the other end is closed. Time is bounded by an alarm that nothing handles, so that it ends a loop in C as well,
and that of a worker which is gone.
"""

from __future__ import annotations

import base64
import binascii
import gc
import os
import signal
from collections.abc import Callable

from core.confinement import computing
from core.dsl.texts import wire
from core.dsl.texts.wire import Bounds, Format, Reply, Request, Unreadable

Read = Callable[[bytes, Bounds], list[str]]
_SOCKET = 0
_MOST_READ_BYTES = 1024 * 1024


def main(arguments: list[str]) -> int:
    """Answer requests; returns when there are no more, or when this process may have been harmed.

    `arguments`: the format, how many bytes of memory there are, and `confined` if it is to be.
    """
    format, most_bytes, *confined = arguments
    read = _loaded(Format(format))
    wire.encode(wire.parse(wire.encode(Reply())[wire.LENGTH.size :], Reply))  # what goes on the wire is loaded, too
    gc.collect()
    gc.freeze()
    computing.enter(int(most_bytes), confined=bool(confined))
    _send(Reply())
    while (request := _next()) is not None:
        content = _exactly(request.length)
        signal.setitimer(signal.ITIMER_REAL, request.seconds)
        reply = _answer(read, request, content)
        signal.setitimer(signal.ITIMER_REAL, 0)
        del content
        _send(reply)
        if reply.spent:
            break
    return 0


def _loaded(format: Format) -> Read:
    if format is Format.PDF:
        from core.dsl.texts import pdf

        pdf.load()
        return pdf.texts_of
    from core.dsl.texts import docx

    b"a".decode("cp437")  # of the names in ZIP archives
    return docx.texts_of


def _answer(read: Read, request: Request, content: bytes) -> Reply:
    try:
        if request.base64:
            content = base64.b64decode(content.translate(None, b"\r\n \t"), validate=True)
        texts = [text.encode(errors="replace").decode() for text in read(content, request.bounds)]
    except binascii.Error as error:
        return Reply(refused=f"is not valid base64: {error}")
    except Unreadable as error:
        return Reply(refused=_bounded(str(error)))
    except MemoryError:
        return Reply(refused="needs more memory than there is for it", spent=True)
    except RecursionError:
        return Reply(refused="is nested too deep", spent=True)
    except Exception as error:  # the boundary of a parser: what it did not foresee is told of the file
        return Reply(refused=_bounded(f"cannot be read: {type(error).__name__}: {error}"), spent=True)
    return Reply(texts)


def _bounded(text: str) -> str:
    return text.encode(errors="replace").decode()[: wire.MOST_REASON_CHARACTERS]


def _next() -> Request | None:
    """The next request; None when there will be none."""
    head = os.read(_SOCKET, 1)
    if not head:
        return None
    head += _exactly(wire.LENGTH.size - 1)
    return wire.parse(_exactly(wire.length(head, wire.MOST_REQUEST_BYTES)), Request)


def _exactly(count: int) -> bytes:
    out = bytearray()
    while len(out) < count:
        part = os.read(_SOCKET, min(count - len(out), _MOST_READ_BYTES))
        if not part:
            raise SystemExit(0)  # the worker is gone
        out += part
    return bytes(out)


def _send(reply: Reply) -> None:
    try:
        data = memoryview(wire.encode(reply))
    except MemoryError:
        data = memoryview(wire.encode(Reply(refused="needs more memory than there is for it", spent=True)))
    while data:
        data = data[os.write(_SOCKET, data) :]
