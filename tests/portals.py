"""Portals for tests: a directory of documents that is packed, and a real HTTPS server with a certificate of its own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from tests import certificates

SOURCE = """\
kind: blueprint
slug: ticks
version: 1.0.0
title: Ticks
summary: Emits a tick at every interval.
author: Ada
tags: [source, clock]
parameters:
  type: object
  additionalProperties: false
  properties:
    interval: {type: string, default: 5s}
ports: {out: [out]}
jobs:
  - name: tick
    input: {echo: {event: tick, trigger: {interval: "{{interval}}"}}}
    output: {port: out}
"""
PRINTED = """\
kind: workflow
slug: printed-ticks
version: 1
title: Printed ticks
summary: Prints a tick every few seconds.
tags: [clock]
wizard:
  - {field: every, title: Interval, required: true}
steps:
  - {id: tick, use: "blueprint:ticks@1.0.0", with: {interval: "{{wizard.every}}"}, out: channel:ticks}
  - {id: print, use: "blueprint:file-printer@1.0.0", in: channel:ticks}
"""
JOB = """\
kind: library-job
slug: hello-job
version: 1.0.0
title: Hello
summary: Says hello.
tags: [starter]
job:
  name: hello
  input: {echo: {event: hello}}
  output: {print: STDOUT}
"""
SKELETON = """\
kind: perspective
slug: clock-and-more
version: 1.0.0
title: A clock and more
tags: [clock]
steps:
  - {id: tick, use: "blueprint:ticks@1.0.0", out: channel:ticks}
  - {id: take, slot: {hint: Anything with an in port.}, in: channel:ticks}
"""
DOCUMENTS = {"blueprint": SOURCE, "workflow": PRINTED, "job": JOB, "perspective": SKELETON}


def item(text: str, path: str, **more: Any) -> dict[str, Any]:
    """The entry of an index for a document."""
    raw = text.encode()
    return {"path": path, "sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), **more}


def write_index(root: Path, *items: dict[str, Any], **more: Any) -> None:
    (root / "index.json").write_bytes(orjson.dumps({"schema_version": "v1", "items": list(items), **more}))


def ticks(version: str = "1.0.0") -> str:
    return SOURCE.replace("version: 1.0.0", f"version: {version}")


@dataclass
class Server:
    """A web server with the files of a directory. `answer` may answer a request in their place: (status, headers,
    body), or None for the file."""

    url: str
    certificate: Path
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    answer: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda path: None

    def settings(self, name: str = "acme", path: str = "") -> dict[str, Any]:
        """The settings of an engine that reads this portal."""
        return {
            "portals": (f"{name}={self.url}{path}",),
            "portal_ca_file": self.certificate,
            "egress_allow": ("127.0.0.1/32",),
        }


@contextmanager
def https(root: Path, where: Path) -> Iterator[Server]:
    """Serve a directory at https://127.0.0.1; `where` keeps the certificate."""
    certificate = certificates.self_signed(where, "127.0.0.1")
    served: Server

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
            status, headers, body = served.answer(self.path) or self.file()
            self.send_response(status)
            for key, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if status != 304:
                self.wfile.write(body)

        def file(self) -> tuple[int, dict[str, str], bytes]:
            path = root / self.path.lstrip("/")
            if not path.is_file():
                return 404, {}, b"no such file"
            body = path.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if self.headers.get("if-none-match") == etag:
                return 304, {"etag": etag, "content-length": "0"}, b""
            return 200, {"etag": etag}, body

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that does not like our certificate hangs up

    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = certificate.serving.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    served = Server(f"https://127.0.0.1:{server.server_address[1]}", certificate.cert)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
