"""The tcp input: lines that come over connections, which it accepts or makes itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from core.dsl.component import REGISTRY, Batch, Config, Env, Input, Run
from core.dsl.connections import sockets
from core.dsl.connections.retry import Retry, Temporary, attempt
from core.dsl.events.select import Selector
from core.dsl.inputs import lines
from core.errors import JobFailed, SluiceError
from core.guard import dialing, listen
from core.guard.file_access import FileAccess

AGAIN_SECONDS = 1.0  # between the end of a connection and the next one


class Tls(Config):
    """TLS of either side."""

    cert: str | None = None
    """A PEM file with the certificate; a listener must have one."""
    key: str | None = None
    """A PEM file with its private key."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together")
        return self


@REGISTRY.register("tcp")
class Tcp(Input):
    """Read lines from TCP connections, as long as the job runs: one event for each line, in `_raw` or parsed.

    It accepts connections at `address`, or makes one to `connect` and makes it again when it ends. TCP has no
    acknowledgement that reaches the sender: what is on its way through this job, or in a buffer of the system, is lost
    when the job or the machine stops; use http-server where that matters. While the output is slow the connections are
    not read, so that their senders wait.

    A line that is longer than `max-line-bytes` ends its connection and is counted as an error; bytes that are not
    UTF-8 are replaced, a line that is not JSON with `json` stays text in `_raw`, and both are counted. A last line
    without a line end is an event too. When the address cannot be used, or the other side cannot be reached and
    `retry` does not help, the job fails and tries again. To listen elsewhere than on loopback, the administrator must
    open the address (setting `listen_allow`); outgoing connections pass the same guard as HTTP (`egress_allow`).
    """

    spellings: ClassVar = {"listen": "address"}
    connects_to: ClassVar[str] = "TCP server"
    example: ClassVar[str] = """
name: lines
input:
  tcp: {address: "127.0.0.1:9000", json: true, source-ip-field: client}
output: {print: STDOUT}
"""

    address: sockets.ListenAddress | None = None
    """Accept connections here: `host:port` with an address of this machine; `0.0.0.0:port` is every address."""
    connect: sockets.ConnectAddress | None = None
    """Make a connection to this `host:port`."""
    tls: Tls | None = None
    """Speak TLS: with this certificate, or to the server named in `connect` (its certificate is checked)."""
    insecure: bool = False
    """Accept any TLS certificate of the server."""
    json_: bool = False
    """Each line is a JSON object and becomes the event. A line that is not stays text in `_raw`, and is counted."""
    source_ip_field: Selector | None = None
    """Put the address of the sender here."""
    max_line_bytes: int = Field(default=1024 * 1024, ge=1, le=16 * 1024 * 1024)
    """The longest line."""
    max_connections: int = Field(default=512, ge=1, le=10_000)
    """How many senders may be connected; one more is closed at once."""
    retry: Retry | None = None
    """Try again to connect before the job fails."""

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.address is None) == (self.connect is None):
            raise ValueError("tcp has exactly one of address (listen) and connect")
        if self.address is not None and self.tls is not None and self.tls.cert is None:
            raise ValueError("tls of a listener needs cert and key")
        return self

    @property
    def continuous(self) -> bool:
        return True

    def open(self, env: Env) -> TcpSource:
        return TcpSource(self, env)


class _Lines(NamedTuple):
    """What one read of one connection gave."""

    lines: list[bytes]
    ip: str
    size: int


class TcpSource:
    """A task for each connection; each hands its lines over one read at a time and reads on when they were taken."""

    def __init__(self, config: Tcp, env: Env) -> None:
        self._config = config
        self._env = env
        self._put_ip = sockets.put_source_ip(config.source_ip_field, env, "tcp")
        self._tls = _context(config, env)
        self._ready: asyncio.Queue[_Lines | SluiceError] = asyncio.Queue(maxsize=1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def batches(self, run: Run) -> AsyncIterator[Batch]:
        async with self._lines_coming(run):
            while True:
                item = await self._ready.get()
                if isinstance(item, SluiceError):
                    raise item
                run.bytes_in += item.size
                events = lines.from_lines(item.lines, self._config.json_, self._env, run, "tcp")
                self._put_ip(events, item.ip, run)
                if events:
                    yield Batch(events)

    def _lines_coming(self, run: Run) -> contextlib.AbstractAsyncContextManager[None]:
        address = self._config.address
        if address is None:
            self._start(self._keep_connected(run))
            return contextlib.nullcontext()
        return sockets.serving(
            address,
            self._env,
            "tcp",
            lambda reader, writer: self._accept(reader, writer, run),
            tls=self._tls,
            limit=lines.BATCH_BYTES,
        )

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, run: Run) -> None:
        if len(self._tasks) >= self._config.max_connections:
            run.refuse(self._env, "tcp: a connection was closed: there are as many as max-connections allows")
            writer.close()
        else:
            self._start(self._read(reader, writer, run))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_connected(self, run: Run) -> None:
        where = listen.endpoint(self._config.connect or "")
        try:
            while True:
                reader, writer = await attempt(self._config.retry, self._env, "tcp", lambda: self._dial(*where))
                self._env.log("info", f"tcp: connected to {where}")
                await self._read(reader, writer, run)
                self._env.log("warning", f"tcp: the connection to {where} ended; connecting again")
                await asyncio.sleep(AGAIN_SECONDS)
        except SluiceError as error:
            await self._ready.put(error)

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await dialing.open_connection(
                host, port, self._env.limits.egress_allow, tls=self._tls, limit=lines.BATCH_BYTES
            )
        except dialing.Unreachable as error:
            raise Temporary(error.message, hint=error.hint) from error

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, run: Run) -> None:
        """Hand over the lines of one connection until it ends."""
        ip = listen.peer_ip(writer.get_extra_info("peername"))
        splitter = lines.Splitter(self._config.max_line_bytes, f"tcp: {ip}")
        try:
            while data := await reader.read(lines.BATCH_BYTES):
                if whole := splitter.feed(data):
                    await self._ready.put(_Lines(whole, ip, len(data)))
        except OSError as error:
            self._env.log("warning", f"tcp: the connection with {ip} broke: {error.strerror or error}")
        except JobFailed as error:  # a line that is too long: the connection's fault, not the job's
            run.refuse(self._env, f"{error.message}; its connection was closed")
            splitter.end()
        finally:
            writer.close()
        if last := [line for line in splitter.end() if line]:
            await self._ready.put(_Lines(last, ip, 0))

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _context(config: Tcp, env: Env) -> ssl.SSLContext | None:
    tls = config.tls
    if tls is None:
        return None
    files = FileAccess(env.limits.files, env.tenant)
    if config.address is not None:
        return listen.server_context(tls.cert or "", tls.key or "", files)
    if tls.cert is None:
        return dialing.client_context(config.insecure)
    context = ssl.create_default_context()
    if config.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    listen.load_certificate(context, tls.cert, tls.key or "", files)
    return context
