"""Without --allow-write nothing that a client can say changes what is kept, in either era and over either transport.

Every method of the server, and every tool of the registry whether listed or not, is called with arguments that would
work, and with others made from their schemas. What is kept is compared before and after, but for the audit log.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import anyio
import httpx
import orjson
import pytest

from core.engine import Engine
from core.model.trigger import TOOL_PREFIX
from core.operations import REGISTRY
from mcp_server import server
from mcp_server.cli import stage
from mcp_server.session import EngineSession, Options
from tests.engines import ADMIN, engine_on
from tests.furnished import GIVEN, NAMES, arguments_of, furnish
from tests.identity.peer import ERAS, Peer, modern
from tests.identity.test_mcp_matrix import METHODS, Params

pytestmark = pytest.mark.anyio

TEXTS = [
    "",
    "x",
    "*",
    "../../x",
    "1; DROP TABLE jobs",
    "\u202e",
    "${a}",
    "{{x}}",
    "x" * 300,
    "true",
    "2026-01-01T00:00:00Z",
]
FLAGS = {"apply": True, "allow_write": True, "force": True, "_idempotency_key": "k", "tenant_id": "tenant-a"}
BOOKS = tuple(
    f'INSERT INTO "{table}"'
    for table in ("audit", "usage_counted", "engine_signs", "conditions", "transitions", "outages")
)
"""Refusals, how far the engine has counted what is kept, that it is there, and what it sees of what runs."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """A furnished home at rest: its jobs were running, and there is no worker any more that would go on."""
    home = tmp_path_factory.mktemp("read-only") / "home"
    async with engine_on(home, workers=1) as made:
        with anyio.fail_after(60):
            await furnish(made)
    async with engine_on(home, workers=0, reconcile_interval_seconds=3600.0) as resting:
        yield resting


def kept(home: Path) -> str:
    """A digest of the store but for the audit log, and of every other file in the home but for the logs of jobs."""
    connection = sqlite3.connect(f"file:{home / 'sluice.db'}?mode=ro", uri=True)
    try:
        lines = [line for line in connection.iterdump() if not line.startswith(BOOKS)]
    finally:
        connection.close()
    files = (
        path
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.startswith(("sluice.db", "logs.db", "letters.db", "series.db"))
    )
    lines += [f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


# -- what is said -----------------------------------------------------------------------------------------------------


def made_up(schema: Any, chance: random.Random, depth: int = 0) -> Any:
    """A value that more or less fits a schema: names of things that there are, odd texts, edges of numbers."""
    if not isinstance(schema, dict) or depth > 4 or chance.random() < 0.05:
        return chance.choice([None, True, 0, -1, 2**53, 1.5, *TEXTS, [], {}])
    if "enum" in schema:
        return chance.choice(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return made_up(chance.choice(schema[key]), chance, depth + 1)
    match schema.get("type"):
        case "object":
            named = schema.get("properties", {})
            wanted = [key for key in named if key in schema.get("required", ()) or chance.random() < 0.4]
            made = {key: _named(key, named[key], chance, depth) for key in wanted}
            return made | dict([chance.choice(list(FLAGS.items()))] if chance.random() < 0.1 else [])
        case "array":
            return [made_up(schema.get("items"), chance, depth + 1) for _ in range(chance.randrange(3))]
        case "integer" | "number":
            return chance.choice([schema.get("minimum", 0), 0, 1, 5])
        case "boolean":
            return chance.choice([True, False])
    return chance.choice([*TEXTS, *NAMES.values()])


def _named(key: str, schema: Any, chance: random.Random, depth: int) -> Any:
    if "wait" in key:
        return 0
    real = [name for place, name in NAMES.items() if place.endswith(f" {key}")] + ([GIVEN[key]] if key in GIVEN else [])
    return chance.choice(real) if real and chance.random() < 0.7 else made_up(schema, chance, depth + 1)


def calls(rounds: int, chance: random.Random) -> Iterator[tuple[str, Params]]:
    """(method, params): each with arguments that would work, then `rounds` times with made-up ones."""
    for method, of in METHODS.items():
        if method != "tools/call":
            for params in of(True):
                yield method, params
                for _ in range(rounds):
                    yield method, _shaken(params, chance)
    schemas = {op.name: op.schema for op in REGISTRY}
    schemas[TOOL_PREFIX + "a_trigger"] = schemas["trigger_invoke"]["properties"]["params"]
    for name, schema in schemas.items():
        works = arguments_of(REGISTRY[name], real=True) if name in REGISTRY else {"env": "x"}
        for arguments in (works, works | {"_idempotency_key": "k"}, *(made_up(schema, chance) for _ in range(rounds))):
            yield "tools/call", {"name": name, "arguments": arguments if isinstance(arguments, dict) else {}}
    yield (
        "subscriptions/listen",
        {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["deployment://a_place"]}},
    )
    yield "logging/setLevel", {"level": "debug"}
    yield "trigger_publish", {"slug": "x"}
    yield "notifications/cancelled", {"requestId": 1}


def _shaken(params: Params, chance: random.Random) -> Params:
    return {
        key: chance.choice([value, made_up({"type": "object"}, chance), *TEXTS]) for key, value in params.items()
    } | {chance.choice(list(FLAGS)): True}


# -- how it is said ---------------------------------------------------------------------------------------------------


class Client(Protocol):
    """Says one thing and hears what came of it; None when no answer is due."""

    async def say(self, method: str, params: Params) -> Params | None: ...


STREAMS = ("subscriptions/listen",)  # answered by a stream, which stays open


class Stdio:
    """A client of `sluice-mcp` as users start it."""

    def __init__(self, process: asyncio.subprocess.Process, era: str) -> None:
        self._process = process
        self._era = era
        self._id = 0

    async def say(self, method: str, params: Params) -> Params | None:
        assert self._process.stdin is not None and self._process.stdout is not None
        message: Params = {"jsonrpc": "2.0", "method": method}
        message["params"] = modern(params) if self._era == ERAS[1] else params
        silent = method.startswith("notifications/")
        if not silent:
            self._id += 1
            message["id"] = self._id
        self._process.stdin.write(orjson.dumps(message) + b"\n")
        while not silent and (line := await self._process.stdout.readline()):
            answer: Params = orjson.loads(line)
            if answer.get("id") == self._id:
                return answer
            if method in STREAMS and "acknowledged" in str(answer):
                return answer
        assert silent, "the server ended"
        return None


class Http:
    """A client of the same server over HTTP."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def say(self, method: str, params: Params) -> Params | None:
        if method in STREAMS or method.startswith("notifications/"):
            return None  # a stream that ends with the client tells no more than its test over stdio
        return (await self._peer.ask(method, params))[1]


@asynccontextmanager
async def stdio(engine: Engine, era: str) -> AsyncIterator[Stdio]:
    home = str(engine.settings.home)
    process = await asyncio.create_subprocess_exec(
        *(stage.program("sluice-mcp"), "--home", home, "--tenant", "tenant-a", "--toolsets", "all"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=stage.environment(),
        limit=2**24,
    )
    try:
        client = Stdio(process, era)
        if era == ERAS[0]:
            hello = {"protocolVersion": era, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            await client.say("initialize", hello)
            await client.say("notifications/initialized", {})
        yield client
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def http(engine: Engine, era: str, *, allow_write: bool = False) -> AsyncIterator[Http]:
    async def opened() -> EngineSession:
        return _Lent(engine)

    app = server.http_app(opened, Options(caller=ADMIN, allow_write=allow_write, toolsets=("all",)))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as client:
            peer = Peer(client, era)
            await peer.greet()
            yield Http(peer)


class _Lent:
    """The engine as a session that must not be closed."""

    def __init__(self, engine: Engine) -> None:
        self.operations, self.call, self.subscribe = engine.operations, engine.call, engine.subscribe

    async def aclose(self) -> None:
        """Leave it running."""


ROUNDS = [1, pytest.param(40, marks=pytest.mark.soak)]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("way", [stdio, http])
async def test_nothing_that_a_reading_session_says_changes_anything(
    way: Any, era: str, rounds: int, engine: Engine
) -> None:
    before = kept(engine.settings.home)
    said = refused = 0
    with anyio.fail_after(60 + 30 * rounds):
        async with way(engine, era) as client:
            for method, params in calls(rounds, random.Random(rounds)):
                answer = await client.say(method, params)
                said += 1
                error = (answer or {}).get("result", {}).get("structuredContent", {}).get("error", {})
                assert error.get("code") != "internal", (method, params)
                refused += error.get("code") == "write_disabled"
    assert kept(engine.settings.home) == before
    assert said > 300 and refused > 50, (said, refused)


async def test_the_same_calls_in_a_writing_session_do_change_something(engine: Engine) -> None:
    """So that the comparison can fail."""
    before = kept(engine.settings.home)
    async with http(engine, ERAS[1], allow_write=True) as client:
        answer = await client.say(
            "tools/call", {"name": "kv_set", "arguments": arguments_of(REGISTRY["kv_set"], real=True)}
        )
    assert answer is not None and answer["result"]["isError"] is False
    assert kept(engine.settings.home) != before
