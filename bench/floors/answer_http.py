"""The server that calls are made to: uvicorn with httptools and one small answer, after so many milliseconds.

`python -m bench.floors.answer_http MILLISECONDS` prints its port; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from bench.floors import echo_http

BODY = b'{"name":"ada","tier":"gold"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


def after(seconds: float) -> Any:
    """An application that gives the answer after so many seconds."""

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})

    return answer


if __name__ == "__main__":
    asyncio.run(echo_http.main(after(float(sys.argv[1]) / 1000)))
