"""Stands in for a server of models and for a vector database, so that examples/document_search.md can be tried at once.

    python3 examples/document_search.py 127.0.0.1:8089

Its vectors count the words of a text: enough to find a text that shares words with a question, and nothing more. It
ends when nobody has asked for two minutes, or at `POST /end`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DIMENSIONS = 256
IDLE_SECONDS = 120
PIECES: dict[str, dict[str, Any]] = {}


def vector(text: str) -> list[float]:
    """Each word adds to one of the numbers; the whole has the length 1."""
    out = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        out[hashlib.sha256(word.encode()).digest()[0]] += 1
    length = math.hypot(*out) or 1
    return [number / length for number in out]


class Handler(BaseHTTPRequestHandler):
    """`POST /v1/embeddings` of the API of OpenAI; `POST /pieces` and `GET /search?q=` of an index."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "null")
        if self.path == "/v1/embeddings":
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            data = [{"index": at, "embedding": vector(text)} for at, text in enumerate(texts)]
            self.answer({"object": "list", "data": data, "model": body["model"]})
        elif self.path == "/pieces":
            PIECES.update((piece["id"], piece) for piece in body)
            self.answer({"pieces": len(PIECES)})
        elif self.path == "/end":
            self.answer({})
            self.server.running = False
        else:
            self.send_error(404)

    def do_GET(self) -> None:
        wanted = vector(parse_qs(urlsplit(self.path).query)["q"][0])
        if not PIECES:
            self.answer({})
            return
        best = max(PIECES.values(), key=lambda piece: sum(map(float.__mul__, wanted, map(float, piece["vector"]))))
        self.answer({"id": best["id"], "text": best["text"]})

    def answer(self, value: Any) -> None:
        content = json.dumps(value).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(HTTPServer):
    running = True
    timeout = IDLE_SECONDS

    def handle_timeout(self) -> None:
        self.running = False


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    with Server((host, int(port)), Handler) as server:
        while server.running:
            server.handle_request()
