"""No component that dials out shows what its operator has at home or in the environment, or what a receiver has set."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grimp
import orjson
import pytest

from core import errors
from core.dsl.component import REGISTRY
from core.dsl.stores import cloud
from core.engine import Engine
from tests import waiting
from tests.engines import ADMIN, engine_on

pytestmark = pytest.mark.anyio
CANARY = "canary-of-the-operator"
DIALS = {"core.guard.dialing", "core.guard.egress", "core.natsclient", "core.dsl.stores.remote", "core.dsl.stores.gate"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def dialling() -> set[tuple[str, str]]:
    """The components whose modules come, by whatever way, to one of those that make connections."""
    graph = grimp.build_graph("core", cache_dir=None)
    return {
        (one.kind, one.name)
        for one in REGISTRY
        if DIALS & (graph.find_upstream_modules(one.__module__) | {one.__module__})
    }


HTTP = "http://127.0.0.1:{port}"
S3 = {"endpoint": HTTP, "region": "us-east-1", "access-key": "own", "secret-key": "own"}
GCS = {"endpoint": HTTP, "credentials": {"token": "own"}}
AZURE = {"endpoint": HTTP, "storage-account": "own", "storage-master-key": "a2V5"}
NAMED = {"object-name": "x", "disable-object-name-guid": True}
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {  # of a document that reaches the receiver
    ("input", "http-poll"): {"url": HTTP + "/", "trigger": {"interval": "1s"}},
    ("input", "tcp"): {"connect": "127.0.0.1:{port}"},
    ("input", "jetstream"): {"stream": "orders"},
    ("input", "kafka"): {"bootstrap-servers": ["127.0.0.1:{port}"], "topics": ["t"]},
    ("input", "s3"): {"bucket-name": "b", "trigger": {"interval": "1s"}, **S3},
    ("input", "gcs"): {"bucket-name": "b", "trigger": {"interval": "1s"}, **GCS},
    ("input", "azure-blob"): {"container-name": "b", "trigger": {"interval": "1s"}, **AZURE},
    ("action", "http"): {"url": HTTP + "/"},
    ("action", "infer"): {
        "workload": "embedding",
        "embedding": {"url": HTTP + "/v1", "model": "m"},
        "input-field": "n",
    },
    ("output", "http-get"): {"url": HTTP + "/"},
    ("output", "http-post"): {"url": HTTP + "/"},
    ("output", "elasticsearch"): {"url": HTTP, "index": "i"},
    ("output", "splunk-hec"): {"url": HTTP, "token": "own"},
    ("output", "jetstream"): {"stream": "orders"},
    ("output", "kafka"): {"bootstrap-servers": ["127.0.0.1:{port}"], "topic": "t"},
    ("output", "web-dav-store"): {"url": HTTP + "/dav", **NAMED},
    ("output", "s3"): {"bucket-name": "b", **S3, **NAMED},
    ("output", "gcs"): {"bucket-name": "b", **GCS, **NAMED},
    ("output", "azure-blob"): {"container-name": "b", **AZURE, **NAMED},
}


@dataclass
class Receiver:
    """Answers everything, sets a cookie each time, and keeps every byte."""

    port: int = 0
    heard: bytearray = field(default_factory=bytearray)
    requests: int = 0

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heard += head
                self.requests += 1
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                self.heard += await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                told = b"set-cookie: receiver=cookie-of-the-receiver; Path=/\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n" + told + b"content-length: 2\r\n\r\n{}")
        writer.close()

    async def kafka(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            self.heard += await reader.read(65536)
            self.requests += 1
        writer.close()  # so that it comes again

    async def nats(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            info = {"server_id": "x", "version": "2.10.0", "max_payload": 1048576, "headers": True, "jetstream": True}
            writer.write(b"INFO " + orjson.dumps(info) + b"\r\n")
            while data := await reader.read(65536):
                self.heard += data
                self.requests += 1
                if b"PING\r\n" in data:
                    writer.write(b"PONG\r\n")
        writer.close()


@contextlib.asynccontextmanager
async def receiving(wire: str = "http") -> AsyncIterator[Receiver]:
    made = Receiver()
    server = await asyncio.start_server(getattr(made, wire), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@pytest.fixture
def rich_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Someone with credentials of every kind, in the places where client libraries look; proxies lead to a port."""
    home = tmp_path / "user"
    google = {"type": "authorized_user", "client_id": CANARY, "client_secret": CANARY, "refresh_token": CANARY}
    files = {
        ".netrc": f"machine 127.0.0.1 login {CANARY} password {CANARY}\ndefault login {CANARY} password {CANARY}\n",
        ".aws/credentials": f"[default]\naws_access_key_id = {CANARY}\naws_secret_access_key = {CANARY}\n",
        ".config/gcloud/application_default_credentials.json": orjson.dumps(google).decode(),
        ".azure/accessTokens.json": f'[{{"accessToken": "{CANARY}"}}]',
        ".nats/context.json": f'{{"user": "{CANARY}", "password": "{CANARY}"}}',
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    for provider, names in cloud.OPERATOR.items():
        for name in names:
            monkeypatch.setenv(provider + name, CANARY)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / ".aws/credentials"))
    monkeypatch.setenv("NATS_USER", CANARY)

    def proxies(port: int) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{CANARY}:{CANARY}@127.0.0.1:{port}")

    return proxies


def _filled(value: Any, port: int) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, port) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, port) for one in value]
    return value.replace("{port}", str(port)) if isinstance(value, str) else value


def document(kind: str, name: str, options: dict[str, Any]) -> str:
    ends: dict[str, Any] = {"input": {"echo": {"event": '{"n": 1}', "json": True}}, "output": {"discard": {}}}
    if kind != "input":
        ends["input"]["echo"]["trigger"] = {"interval": "1s"}
    if kind == "action":
        ends["actions"] = [{name: options}]
    else:
        ends[kind] = {name: options}
    return orjson.dumps({"name": f"{kind}-{name}", **ends}).decode()


def test_every_component_that_dials_has_a_document_here() -> None:
    assert dialling() == OPTIONS.keys()


@pytest.mark.parametrize("allowed", [False, True], ids=["not allowed", "allowed"])
async def test_nothing_of_the_operator_is_shown_to_an_address_of_a_document(
    tmp_path: Path, rich_operator: Callable[[int], None], allowed: bool
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        trap, broker = await stack.enter_async_context(receiving()), await stack.enter_async_context(receiving("nats"))
        rich_operator(trap.port)
        loopback = {"egress_allow": ("127.0.0.1/32",), "cloud_credentials": allowed}
        settings = {**loopback, "nats": f"nats://127.0.0.1:{broker.port}", "license_keys": ()}
        engine = await stack.enter_async_context(engine_on(tmp_path / "home", **settings))
        receivers = {}
        for (kind, name), options in OPTIONS.items():
            wire = "kafka" if name == "kafka" else "http"
            receiver = broker if name == "jetstream" else await stack.enter_async_context(receiving(wire))
            receivers[kind, name] = receiver
            put = await engine.call(
                "job_put", {"document": document(kind, name, _filled(options, receiver.port))}, ADMIN
            )
            await engine.call("job_deploy", {"name": put["name"], "wait_seconds": 0}, ADMIN)
        await waiting.until(
            lambda: [key for key, one in receivers.items() if one.requests < 2 and key != ("input", "tcp")],
            lambda silent: not silent,
            seconds=60,
        )
    everything = b"".join(bytes(one.heard) for one in (*receivers.values(), trap))
    assert CANARY.encode() not in everything
    assert b"cookie-of-the-receiver" not in everything
    assert trap.requests == 0


@pytest.mark.parametrize("name", ["s3", "gcs", "azure-blob"])
async def test_a_store_without_credentials_is_refused_with_the_setting_that_would_let_it(
    tmp_path: Path, rich_operator: Callable[[int], None], name: str
) -> None:
    place = {"container-name": "b", "storage-account": "acme"} if name == "azure-blob" else {"bucket-name": "b"}
    async with engine_on(tmp_path / "home") as engine:
        assert "cloud_credentials" in await _refusal(engine, name, place)
        with pytest.raises(errors.InvalidDocument) as refused:
            await engine.call(
                "job_put", {"document": document("input", name, {**place, "endpoint": "https://x.test"})}, ADMIN
            )
        assert "credentials of its own" in str(refused.value.errors)


async def _refusal(engine: Engine, name: str, place: dict[str, Any]) -> str:
    put = await engine.call("job_put", {"document": document("input", name, place)}, ADMIN)
    deployed = await engine.call("job_deploy", {"name": put["name"], "wait_seconds": 20}, ADMIN)
    [workload] = deployed["workloads"]
    assert workload["state"] == "failed"
    return str(workload["reason"])
