"""A Kafka cluster, for the input and the output of that name: the keys of a document, and how a client is opened.

Clients are those of aiokafka (extra `kafka`), which core.dsl.connections.kafka_client makes dial through core.guard;
nothing else of the language imports either.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Coroutine
from types import ModuleType
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from core.dsl.component import Config, Env, Run
from core.dsl.connections import http_auth, sockets
from core.dsl.connections.retry import Temporary
from core.dsl.language import places, templates
from core.dsl.language.action import JobAborted
from core.errors import JobFailed, shorten
from core.guard import dialing, listen
from core.guard.file_access import FileAccess

T = TypeVar("T")
REQUEST_SECONDS = 15.0  # for one answer of a broker
BACKOFF_SECONDS = 0.25  # between two tries of the client
METADATA_SECONDS = 30.0  # between two looks at which brokers, topics and partitions there are
MOST_CA_BYTES = 1024 * 1024
TOPIC_PATTERN = r"^[A-Za-z0-9._-]{1,249}$"
ENCODINGS = ("gzip", "snappy", "lz4", "zstd")
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]


class Tls(Config):
    """TLS of a client. Left out, all that is sent can be read on the way."""

    ca: Annotated[str, places.READ] = ""
    """A PEM file with the certificates that are believed; left out: those of the system."""
    cert: Annotated[str, places.READ] = ""
    """A PEM file with a certificate of our own, for a cluster that asks for one."""
    key: Annotated[str, places.READ] = ""
    """A PEM file with its private key."""
    insecure: bool = False
    """Accept any certificate."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key belong together")
        if self.insecure and self.ca:
            raise ValueError("with insecure no ca is asked; keep one of them")
        return self


class Sasl(Config):
    """How to log in."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """`PLAIN` sends the password itself and so takes tls; the others prove that both sides know it (RFC 5802)."""
    username: templates.Text = Field(min_length=1)
    """The user name."""
    password: templates.Text = Field(min_length=1)
    """The password; give it as `${secret|…}` or `${dyn|…}`, not as text."""


class Cluster(Config):
    """The keys that say which cluster, and who we are there."""

    bootstrap_servers: tuple[sockets.ConnectAddress, ...] = Field(min_length=1, max_length=100)
    """Some of the brokers, each as `host:port`; they tell of the others. Every broker passes the guard of outgoing
    connections (setting `egress_allow`) before it is connected to, also one that the cluster tells of."""
    tls: Tls | None = None
    """Speak TLS with every broker; `{}` believes the authorities of the system."""
    sasl: Sasl | None = None
    """Log in at every broker."""
    client_id: str = Field(default="sluice", min_length=1, max_length=200)
    """What we are called in the logs and quotas of the brokers."""

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if self.sasl is not None and self.sasl.mechanism == "PLAIN" and self.tls is None:
            raise ValueError("sasl PLAIN sends the password as it is and takes tls; or use SCRAM-SHA-512")
        return self


class Link:
    """How one component reaches its cluster: the options of its clients, and what became of their tries."""

    def __init__(self, config: Cluster, env: Env) -> None:
        """Raises JobFailed when the extra is not installed or a certificate cannot be used."""
        self.client = load()
        self.dialer = self.client.Dialer(env.limits.egress_allow)
        self.where = ", ".join(config.bootstrap_servers[:3])
        tls = None if config.tls is None else _context(config.tls, env)
        self._fixed: dict[str, Any] = {
            "bootstrap_servers": list(config.bootstrap_servers),
            "security_protocol": ("SASL_" if config.sasl else "") + ("SSL" if tls else "PLAINTEXT"),
            "ssl_context": tls,
            "retry_backoff_ms": int(BACKOFF_SECONDS * 1000),
            "metadata_max_age_ms": int(METADATA_SECONDS * 1000),
        }
        self._name = config.client_id
        self._sasl = config.sasl
        if config.sasl is not None:
            self._username = templates.template(config.sasl.username, env)
            self._password = templates.template(config.sasl.password, env)

    def options(self, run: Run) -> dict[str, Any]:
        """What a client of aiokafka is made with, each anew; the secrets as they are now."""
        options = {**self._fixed, "client_id": self.client.ClientId(self._name, self.dialer)}
        if self._sasl is None:
            return options
        return {
            **options,
            "sasl_mechanism": self._sasl.mechanism,
            "sasl_plain_username": self._username({}, run),
            "sasl_plain_password": http_auth.filled(self._password, "sasl", {}, run),
        }

    @property
    def fault_now(self) -> str:
        """Why a broker could not be reached just now; empty when all could."""
        return str(self.dialer.fault)

    @property
    def over(self) -> JobFailed | None:
        """What will not pass: a broker may not be reached, or has refused the login."""
        if self.dialer.refused is not None or self.dialer.locks_out:
            return self.fault(self.dialer.refused or self.client.errors.SaslAuthenticationFailed())
        return None

    async def unless_refused(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of what a client does; it ends at once when a broker turns out to be one that is forbidden.

        Raises what `work` raises, and JobFailed.
        """
        doing = asyncio.ensure_future(work)
        refused = asyncio.ensure_future(self.dialer.refusal.wait())
        try:
            await asyncio.wait({doing, refused}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise self.fault(self.dialer.refused)
            return doing.result()
        finally:
            doing.cancel()
            refused.cancel()
            await asyncio.wait({doing, refused})

    def fault(self, error: BaseException) -> JobFailed:
        """What is told of a fault of a client: a broker that may not be reached, or why there was no answer."""
        if self.dialer.refused is not None:
            return JobFailed(self.dialer.refused.message, hint=self.dialer.refused.hint)
        if isinstance(error, JobFailed):
            return error
        why = self.fault_now or self.client.reason(error)
        message = f"kafka: the cluster at {self.where}: {why}"
        if self.dialer.locks_out:
            hint = (
                "See the key sasl and its secret; the job is not tried again by itself, deploy it when they are right."
            )
            return JobAborted(message, hint=hint)
        if self.dialer.denied:
            return JobFailed(message, hint="see the keys sasl and tls")
        return Temporary(message)


def load() -> ModuleType:
    """The module core.dsl.connections.kafka_client.

    Raises JobFailed with the way out when the library is not installed.
    """
    try:
        import core.dsl.connections.kafka_client as kafka_client
    except ImportError as error:
        raise JobFailed(
            "kafka needs the library aiokafka, which is not installed on this worker",
            hint="pip install 'sluice-mcp[kafka]'",
        ) from error
    return kafka_client


def _context(tls: Tls, env: Env) -> ssl.SSLContext:
    files = FileAccess(env.limits.files, env.tenant)
    if not (tls.ca or tls.cert):
        return dialing.client_context(tls.insecure)
    context = ssl.create_default_context(cadata=_authorities(tls.ca, files) if tls.ca else None)
    if tls.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls.cert:
        listen.load_certificate(context, tls.cert, tls.key, files)
    return context


def _authorities(path: str, files: FileAccess) -> str:
    """The text of a file with certificates."""
    with os.fdopen(files.open_read(path), "rb") as file:
        data = file.read(MOST_CA_BYTES)
    try:
        ssl.create_default_context(cadata=(text := data.decode("ascii")))
    except (ssl.SSLError, ValueError) as error:
        raise JobFailed(
            f"the file {shorten(path, 200)} has no certificates that can be believed",
            hint="give a PEM file with the certificates of the authorities",
        ) from error
    return text
