"""Typed settings of the engine; every field is a key of sluice.toml and has an environment variable SLUICE_<NAME>.

Which of them counts: core.precedence. docs/settings.md is generated from these classes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from core.docstrings import Described
from core.fileroots import FileMode, FileRoot, FileRootText
from core.homes import default_home

DEFAULT_PORT = 3000  # of `sluice serve`
Port = Annotated[int, Field(ge=1, le=65535)]
GROUP_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"


@dataclass(frozen=True, slots=True)
class Widens:
    """Marks a setting by which a party is trusted with more; docs/security.md names each of them and its party."""


WIDENS = Widens()


def data_root_of(home: Path) -> Path:
    """Where the files of tenants are unless a setting says otherwise: beside the home, which holds keys."""
    return Path(f"{home.expanduser().absolute()}-data")


class Openable(Described, BaseModel):
    """What an operator opens to the jobs of workers: of all, or of one worker group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_exec: Annotated[bool, WIDENS] = False
    """Let jobs run commands (the exec input). Off unless an administrator turns it on."""
    egress_allow: Annotated[tuple[str, ...], WIDENS] = ()
    """Addresses or CIDR blocks that jobs may connect to although they are private, e.g. 127.0.0.1/32."""
    listen_allow: Annotated[tuple[str, ...], WIDENS] = ()
    """Addresses or CIDR blocks of this machine at which the inputs http-server, tcp and udp may listen besides
    loopback, e.g. 10.0.0.5; 0.0.0.0 lets them listen on every address."""
    cloud_credentials: Annotated[bool, WIDENS] = False
    """Let jobs whose documents name no credentials for S3, GCS and Azure act as you there: with what the environment of
    the engine holds (AWS_*, GOOGLE_*, AZURE_*), or the metadata service (with egress_allow). Off: such a job is
    refused."""
    file_access: Annotated[FileMode, WIDENS] = FileMode.TENANT
    """Where jobs may read and write files: tenant (below the data root of their tenant, and in its file roots), roots
    (in its file roots alone; relative paths start at the first), anywhere (everywhere; not for tenants that do not
    trust each other). Never, in no mode: the home, other tenants' directories, the interpreter and its packages, the
    system, dot files of the user, and every file that a setting names."""
    file_roots: Annotated[tuple[FileRootText, ...], WIDENS] = ()
    """More directories for jobs, each [GROUP:][TENANT=]PATH[:ro]: only for workers of that group, only for jobs of that
    tenant (without one: shared by all tenants), only to read; e.g. acme=/srv/acme or etl:/srv/in:ro."""
    disk_reserve_mb: Annotated[int, WIDENS] = Field(default=512, ge=0)
    """How much jobs leave free on every file system that they write to, in MiB, and never more than a tenth of it: the
    store of the engine needs it (docs/files.md). 0: nothing."""
    job_memory_mb: Annotated[int, WIDENS] = Field(default=64, ge=1)
    """Memory cap of one job's Lua state."""
    worker_memory_mb: Annotated[int, WIDENS] = Field(default=2048, ge=0)
    """How much memory one worker process may have; one with more ends, and the job that took it is named. 0: any."""

    @field_validator("egress_allow", "listen_allow", "callback_allow", "oidc_allow", check_fields=False)
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ipaddress.ip_network(text, strict=False)  # its ValueError says what is wrong
        return value


class Group(Openable):
    """What the workers of one group have in place of what is said for all: the table [group.NAME] of sluice.toml.

    What is not said here (`model_fields_set`) is as it is for all.
    """

    @field_validator("file_roots")
    @classmethod
    def _of_this_group(cls, value: tuple[FileRoot, ...]) -> tuple[FileRoot, ...]:
        if named := next((root for root in value if root.group), None):
            raise ValueError(f"{str(named)[:80]!r} names a group, and stands in the table of one; leave the group out")
        return value


class Serve(Described, BaseModel):
    """Where `sluice serve` listens, and whom it lets in: the table [serve] of sluice.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    """The port to listen on; 0 takes a free one."""
    auth: Literal["token", "none"] = "token"
    """token asks every request for a bearer token; none lets everyone in as you, and only works on loopback."""
    allow_write: bool = False
    """Offer MCP clients at /mcp the tools that change something. The HTTP API always does, by role."""
    toolsets: tuple[str, ...] = ()
    """Which groups of MCP tools to offer, or all; the usual ones when left out."""
    allow_host: tuple[str, ...] = ()
    """More host names that requests may use."""
    allow_origin: tuple[str, ...] = ()
    """Web origins, besides this server's own, whose pages may call it."""
    tls: bool = False
    """Serve HTTPS on loopback as well. On every other address it is HTTPS unless disable_tls is set."""
    tls_cert: Path | None = None
    """A PEM file with the certificate and its chain; without one, the server signs one itself at the first start."""
    tls_key: Path | None = None
    """A PEM file with the key of the certificate."""
    disable_tls: bool = False
    """Serve plain HTTP also on an address that others reach, behind a proxy that speaks HTTPS."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of a setting came from."""

    source: Literal["flag", "environment", "file", "default"] = "default"
    where: str = ""
    """The variable, or file:line."""


DEFAULT = Origin()


class Settings(Openable):
    """What an engine can be told at its start."""

    home: Path = Field(default_factory=default_home)
    """The data directory (mode 0700). One engine owns it; everyone else attaches to that engine."""
    adopt: bool = False
    """Run on a home that was copied from another place or machine, as a home of its own from then on."""
    workers: int = Field(default=1, ge=0, le=64)
    """How many worker processes this engine starts; GROUP=N,GROUP=N puts them in worker groups, e.g. default=2,etl=1.
    `sluice serve` uses 2."""
    worker_groups: tuple[str, ...] = ()
    """The group of each worker, in order; those beyond are in `default`. Set by `workers`."""
    worker_slots: int = Field(default=64, ge=1, le=4096)
    """How many jobs one worker may hold."""
    sandbox: Annotated[Literal["auto", "require", "off"], WIDENS] = "auto"
    """What the kernel keeps worker processes from: files that they do not need, other processes, unix sockets, most of
    the system. auto: as much as it can, and `sluice worker list` tells what is lacking; require: a worker that lacks
    anything does not start; off: nothing (docs/sandbox.md)."""
    closed_ports: Annotated[tuple[Port, ...], WIDENS] = (DEFAULT_PORT, 4222)
    """Ports of this machine at which no job listens, for clients take credentials there: those of Sluice and of NATS.
    The port of `sluice serve` and that of the setting `nats` belong to them anyway."""
    data_root: Path = Field(default_factory=lambda values: data_root_of(values.get("home", default_home())))
    """The directory with one directory for each tenant, in which its jobs keep their files and where relative paths of
    documents start. It lies outside the home, which holds keys and the database."""
    private_files: tuple[Path, ...] = ()
    """Files that no job may open, by whatever name and in whatever directory, e.g. keys of other programs. Those that
    other settings and flags name belong to them anyway."""
    message_retention_count: int = Field(default=200_000, ge=0)
    """How many messages of jobs and people the log keeps."""
    message_retention_hours: int = Field(default=72, ge=1)
    """How long the log keeps messages of jobs and people, and those of runs."""
    run_message_retention_count: int = Field(default=50_000, ge=0)
    """How many messages the log keeps that say that runs ended."""
    control_message_retention_count: int = Field(default=100_000, ge=0)
    """How many messages the log keeps of what happened to jobs, workers and deployments."""
    control_message_retention_hours: int = Field(default=24 * 30, ge=1)
    """How long the log keeps these."""
    invocation_retention_count: int = Field(default=1_000_000, ge=0)
    """How many finished invocations are kept."""
    invocation_retention_hours: int = Field(default=24 * 30, ge=25)
    """How long a finished invocation is kept; idempotency keys live at least 24 hours."""
    invocation_tenant_count: int = Field(default=500_000, ge=1)
    """How many finished invocations are kept of one tenant; beyond it, its oldest go."""
    invocation_tenant_mb: int = Field(default=8192, ge=1)
    """How much the invocations of one tenant may take, in MiB: parameters, results, messages, and 1 KiB for each.
    Beyond it, new ones are refused."""
    invocation_user_mb: int = Field(default=4096, ge=1)
    """How much of that the invocations of one user may take."""
    message_tenant_mb: int = Field(default=1024, ge=1)
    """How much the messages of one tenant take in the log, in MiB; beyond it, its oldest go."""
    audit_retention_count: int = Field(default=2_000_000, ge=1000)
    """How many rows the audit log keeps, those of all tenants together."""
    audit_retention_hours: int = Field(default=24 * 365, ge=24)
    """How long the audit log keeps a row."""
    log_retention_mb: int = Field(default=1024, ge=1)
    """How much the logs of jobs take on the disk, in MiB, those of all tenants together; beyond it, the oldest lines
    go."""
    log_retention_hours: int = Field(default=168, ge=1)
    """How long a line in the log of a job is kept, also when the job is gone."""
    log_job_mb: int = Field(default=64, ge=1)
    """How much of that the log of one job may take, in MiB; beyond it, its oldest lines go."""
    letter_job_count: int = Field(default=100_000, ge=1)
    """How many dead letters one job may have; beyond it, new ones are counted and not kept."""
    letter_job_mb: int = Field(default=64, ge=1)
    """How much the dead letters of one job may take on the disk, in MiB; likewise."""
    letter_tenant_mb: int = Field(default=512, ge=1)
    """How much those of all jobs of one tenant may take, in MiB; likewise."""
    letter_retention_hours: int = Field(default=336, ge=1)
    """How long a dead letter is kept, also when its job is gone."""
    plan_ttl_seconds: int = Field(default=3600, ge=10)
    """How long a saved plan can be applied."""
    drain_seconds: float = Field(default=5.0, ge=0)
    """How long a worker may finish what it has when it is told to stop."""
    reconcile_interval_seconds: float = Field(default=15.0, gt=0)
    """How often what runs is compared with what was applied, for deployments that do not say another interval."""
    reconcile_patience_seconds: float = Field(default=10.0, ge=0)
    """For how long a worker that is gone keeps its replicas; then they move within its group."""
    heartbeat_seconds: float = Field(default=1.0, gt=0)
    """How often a worker reports; one that is silent for five of these is lost."""
    nats: Annotated[str, WIDENS] = ""
    """The NATS server over which workers of other machines join, and whose JetStream keeps the channels with transport
    jetstream: nats://HOST:PORT, nats://USER:PASSWORD@HOST:PORT, or tls:// in place of nats://; of a cluster, several
    with commas between. Empty: there are no such channels, and workers of other machines join over HTTP alone."""
    jetstream_replicas: Literal[1, 3, 5] = 1
    """On how many servers of a NATS cluster each new stream of a channel is kept; what is confirmed survives the loss
    of less than half of them."""
    allow_shared_worker_key: Annotated[bool, WIDENS] = False
    """Workers that have a copy of worker.key may join over NATS, as before there were worker tokens. It goes with the
    next release but one."""
    http_connections: int = Field(default=1000, ge=1)
    """How many connections the HTTP server holds; never more than half of the files that its process may open."""
    http_connections_per_address: int = Field(default=0, ge=0)
    """How many of them one address may hold (of IPv6, one network of 64 bits); 0 is a quarter. A proxy of
    `trusted_proxies` may hold all, and its clients have this many requests under way each."""
    trusted_proxies: Annotated[tuple[str, ...], WIDENS] = ()
    """Addresses or CIDR blocks of proxies in front of `sluice serve` that are believed about whose requests they hand
    on, and whether those came over HTTPS (docs/service.md). Of everybody else such headers are ignored."""
    kv_tenant_mb: int = Field(default=1024, ge=1)
    """How much the KV store keeps for one tenant, in MiB: keys, values, members of sets and items of queues."""
    callback_allow: Annotated[tuple[str, ...], WIDENS] = ()
    """Addresses or CIDR blocks that callbacks of invocations may be posted to although they are private, besides those
    of egress_allow; jobs do not reach them by this."""
    portals: Annotated[tuple[str, ...], WIDENS] = ()
    """Shared catalogs to install from, each NAME=URL (https://) or NAME=DIRECTORY; of several that have an item, the
    first offers it."""
    portal_ca_file: Annotated[Path | None, WIDENS] = None
    """A PEM file with certificates that portals may show besides those that the system trusts."""
    portal_refresh_seconds: int = Field(default=900, ge=1)
    """How old the index of a portal behind HTTPS may become before it is asked for again; directories are always
    looked at."""
    edition: Literal["full", "community"] = "full"
    """What holds without a license file: everything, or the Community Edition."""
    license_keys: Annotated[tuple[str, ...], WIDENS] = ()
    """Public ed25519 keys (base64) whose licenses this installation trusts."""
    jwt_key_file: Path | None = None
    """A file (mode 0600) with the secret that signs JWTs, at least 32 bytes; without one, a key is made in the home."""
    public_url: str = Field(default="", max_length=500)
    """The address at which people and programs reach `sluice serve`, as https://HOST[:PORT]; signing in with a provider
    and the authorization of MCP clients need it (docs/signing-in.md). Without TLS only on this machine."""
    oidc_issuer: Annotated[str, WIDENS] = Field(default="", max_length=500)
    """The OpenID Connect provider that people sign in with: its issuer, https://... Empty: API keys alone."""
    oidc_client_id: str = Field(default="", max_length=255)
    """As whom the provider knows this engine."""
    oidc_client_secret_file: Path | None = None
    """A file (mode 0600) with the secret of that client; without one it is a public client."""
    oidc_scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What is asked of the provider; with offline_access it gives a refresh token, by which groups are read again."""
    oidc_groups_claim: str = Field(default="groups", min_length=1, max_length=100)
    """The claim of the ID token, or of userinfo, that lists the groups of a person."""
    oidc_ca_file: Annotated[Path | None, WIDENS] = None
    """A PEM file with certificates that the provider may show besides those that the system trusts."""
    oidc_allow: Annotated[tuple[str, ...], WIDENS] = ()
    """Addresses or CIDR blocks at which the provider may be although they are private, e.g. 10.0.0.5."""
    mcp_auth: Annotated[Literal["engine", "external"], WIDENS] = "engine"
    """Whose access tokens open /mcp besides API keys: of this engine (engine), or of the provider (external), which is
    the authorization server of MCP hosts then and signs tokens for PUBLIC_URL/mcp (docs/remote-hosts.md)."""
    mcp_clients: Annotated[tuple[str, ...], WIDENS] = ()
    """MCP hosts that may ask to be let in besides those that describe themselves at an https:// address, each
    NAME=REDIRECT_ADDRESS; several addresses have blanks between them (docs/remote-hosts.md)."""
    waits_per_user: int = Field(default=256, ge=1)
    """How many calls of one user may wait for something at a time (wait_seconds), at each server; more are refused.
    Never more than a quarter of the connections that the server can hold, together with the user's streams; of a
    tenant, than half of them."""
    waits_per_tenant: int = Field(default=1024, ge=1)
    """How many calls of all users of a tenant may wait for something at a time, at each server."""
    streams_per_user: int = Field(default=100, ge=1)
    """How many event streams one user may hold open, at each server; `subscriptions/listen` of MCP is one as well."""
    streams_per_tenant: int = Field(default=500, ge=1)
    """How many event streams all users of a tenant may hold open, at each server."""
    sessions_per_user: int = Field(default=100, ge=1)
    """How many MCP sessions of earlier protocols one user may hold open over HTTP, at each server."""
    sessions_per_tenant: int = Field(default=500, ge=1)
    """How many MCP sessions of earlier protocols all users of a tenant may hold open over HTTP, at each server."""
    otel_ratio: float = Field(default=0.1, ge=0, le=1)
    """Which part of the traces is sent to where OTEL_EXPORTER_OTLP_ENDPOINT says, with the extra `otel`
    (docs/traces.md)."""
    backup_to: str = ""
    """Where the engine keeps backups that it takes by itself: a directory outside of the home that is there, or
    s3://BUCKET/PREFIX (gs://, az://) with the extra `s3` and the credentials of its environment. Empty: none."""
    backup_every_hours: float = Field(default=24.0, gt=0, le=24 * 366)
    """How often it takes one; when that is sooner than one takes, one follows the other."""
    backup_keep: int = Field(default=7, ge=1)
    """How many of them are kept; the oldest one goes when there is a new one."""
    backup_passphrase_file: Path | None = None
    """A file whose first line is the passphrase with which the keys of the home are sealed in them. Without it the keys
    are left out, and a restored home opens no secrets until somebody puts them there."""
    backup_data: bool = False
    """Put the data root, with the files of jobs, into them as well."""
    log_level: str = "warning"
    """Logs go to stderr: debug, info, warning or error."""
    serve: Serve | None = None
    """How `sluice serve` was told to listen; None: this engine is not one of it."""
    group: dict[Annotated[str, Field(pattern=rf"^{GROUP_PATTERN}$")], Group] = Field(default_factory=dict)
    """What the workers of a group, those that were started in it, have in place of what is said for all."""

    _origins: Mapping[str, Origin] = PrivateAttr(default_factory=dict)
    _hidden: tuple[Path, ...] = PrivateAttr(default=())
    _closed: tuple[int, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _workers_by_group(cls, values: Any) -> Any:
        """Read `workers` in the form GROUP=N,GROUP=N."""
        wanted = values.get("workers") if isinstance(values, dict) else None
        if not isinstance(wanted, str) or "=" not in wanted:
            return values
        groups: list[str] = []
        for part in wanted.split(","):
            name, _, count = part.strip().partition("=")
            if not re.fullmatch(GROUP_PATTERN, name) or not count.isascii() or not count.isdigit():
                raise ValueError(f"workers: {part.strip()!r} is not GROUP=N, such as default=2")
            groups += [name] * min(int(count), 65)  # more than are allowed, so that the bound says so
        return {**values, "workers": len(groups), "worker_groups": tuple(groups)}

    @model_validator(mode="after")
    def _provider(self) -> Settings:
        if self.oidc_issuer and not (self.oidc_client_id and self.public_url):
            raise ValueError("oidc_issuer needs oidc_client_id and public_url beside it")
        if self.mcp_auth == "external" and not self.oidc_issuer:
            raise ValueError("mcp_auth external needs oidc_issuer")
        if self.oidc_issuer and "openid" not in self.oidc_scopes:
            raise ValueError("oidc_scopes needs openid")
        return self

    def group_of(self, number: int) -> str:
        """The worker group of the worker local-NUMBER."""
        return self.worker_groups[number - 1] if number <= len(self.worker_groups) else "default"

    def of_group(self, group: str) -> Settings:
        """These settings as the workers of one group have them: what its own table says goes before what is said for
        all, and there are no file roots of other groups."""
        own = self.group.get(group)
        told = {} if own is None else {name: getattr(own, name) for name in own.model_fields_set}
        roots = tuple(root for root in self.file_roots if root.group in ("", group))
        return self.model_copy(update={"file_roots": roots, **told, "group": {}})

    def each(self) -> Iterator[Settings]:
        """These settings as they are for all, and as each group with a table of its own has them."""
        yield self
        for group in self.group:
            yield self.of_group(group)

    def with_origins(self, origins: Mapping[str, Origin]) -> Settings:
        """These settings, which know where each value came from, by names such as `workers` and `group.etl.allow_exec`;
        what is not among them is the default."""
        copied = self.model_copy()
        copied._origins = origins
        return copied

    def origin(self, name: str) -> Origin:
        """Where the value of a setting came from."""
        return self._origins.get(name, DEFAULT)

    def hiding(self, *files: Path | None) -> Settings:
        """These settings with more files that no job may open; those that are None were not named."""
        copied = self.model_copy()
        copied._hidden = (*self._hidden, *(file for file in files if file is not None))
        return copied

    @property
    def hidden(self) -> tuple[Path, ...]:
        """The files that no job may open besides those that a setting names."""
        return self._hidden

    def closing(self, *ports: int) -> Settings:
        """These settings with more ports at which no job listens."""
        copied = self.model_copy()
        copied._closed = (*self._closed, *ports)
        return copied

    @property
    def ports_closed_to_jobs(self) -> frozenset[int]:
        """`closed_ports`, that of the NATS server, and those of this process."""
        return frozenset(self.closed_ports + self._closed) | {urlsplit(url).port or 0 for url in self.nats.split(",")}

    @property
    def license_file(self) -> Path:
        return self.home / "license.json"

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ipaddress.ip_network(text, strict=False)  # its ValueError says what is wrong
        return value

    @field_validator("nats")
    @classmethod
    def _nats(cls, value: str) -> str:
        one = r"(?:nats|tls)://[^\s/?#,]+/?"
        if value and not re.fullmatch(rf"{one}(?:,{one})*", value):
            raise ValueError(
                "the address of a NATS server is nats://HOST:PORT or tls://HOST:PORT; of a cluster, several"
                " of them with commas between"
            )
        return value

    @field_validator("public_url", "oidc_issuer")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
            raise ValueError("must be https://HOST, or http:// with a host of this machine")
        if parts.query or parts.fragment or parts.username is not None or not value.isprintable() or " " in value:
            raise ValueError("must have no user, query or fragment")
        return value

    @field_validator("public_url")
    @classmethod
    def _without_path(cls, value: str) -> str:
        if urlsplit(value).path not in ("", "/"):
            raise ValueError("must be https://HOST[:PORT] without a path")
        return value.rstrip("/")

    @field_validator("mcp_clients")
    @classmethod
    def _mcp_clients(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not re.fullmatch(
                r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}=[a-z][a-z0-9+.-]*:\S+(?: [a-z][a-z0-9+.-]*:\S+)*", text
            ):
                raise ValueError(f"{text[:60]!r} is not NAME=REDIRECT_ADDRESS")
        return value

    @field_validator("portals")
    @classmethod
    def _portals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = []
        for text in value:
            name, equals, location = text.partition("=")
            if not equals or not re.fullmatch("[a-z0-9]+(?:-[a-z0-9]+)*", name) or len(name) > 40:
                raise ValueError(f"{text[:60]!r} is not NAME=LOCATION with a name of lower-case letters, digits and -")
            if not location.startswith(("https://", "/", "./", "~/")) or "?" in location or "#" in location:
                raise ValueError(f"the portal {name} is neither at https:// nor in a directory (/path, ./path, ~/path)")
            names.append(name)
        if len(set(names)) != len(names):
            raise ValueError("two portals have the same name")
        return value

    @property
    def database(self) -> Path:
        return self.home / "sluice.db"

    @property
    def dead_letters(self) -> Path:
        return self.home / "letters.db"

    @property
    def job_logs(self) -> Path:
        return self.home / "logs.db"

    @property
    def series(self) -> Path:
        return self.home / "series.db"
