"""How workers of other machines are let in: tokens, and the credentials that they are redeemed for (core.external)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core import clock
from core.engine import Engine
from core.external.enrolment import WantedToken
from core.external.identity import short
from core.model import results
from core.model.enrolment import Ability, Credential, EnrolmentState, WorkerGrant, WorkerToken, token_id
from core.model.operation import Effect, Loss, Params
from core.model.principal import Caller, Role
from core.model.worker_group import NAME_PATTERN
from core.operations.registry import LISTED, GroupName, Page, offset_page, operation
from core.store.disclosures import Disclosure

DAY_SECONDS = 86_400


class WorkerTokenCreate(Params):
    group: GroupName
    """The worker group that it lets workers into; one that names its tenants."""
    name: str = Field(default="", max_length=63, pattern=rf"{NAME_PATTERN}|^$")
    """The worker that it is for; it replaces the credential that this worker has. When left out, the worker says it."""
    tenants: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=50)
    """Give the workers jobs of these tenants alone, of those that the group admits; when left out, of all of them."""
    can: list[Ability] = Field(default_factory=list, max_length=len(Ability))
    """What the machine of the worker may open to jobs beyond their own directory and public addresses: exec, egress,
    listen, files, cloud. It takes both: this, and the settings of the worker."""
    slots: int = Field(default=4096, ge=1, le=4096)
    """How many jobs each worker may hold at most."""
    uses: int = Field(default=1, ge=1, le=1000)
    """How many workers it lets in."""
    expires_in_seconds: int = Field(default=3600, ge=60, le=30 * DAY_SECONDS)
    """How long it can be redeemed; what was let in stays."""
    approval: Literal["auto", "manual"] | None = None
    """manual: each worker waits for worker_approve. When left out, it does if the token has several uses."""
    ephemeral: bool = False
    """Forget a worker when it says good-bye: for machines that come and go."""


@operation(
    summary="Make a token that lets a worker of another machine in; it is shown only now.",
    http="POST /api/worker-tokens",
    toolset="workers",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    platform=True,
    tool=False,
    told_once=("token",),
)
async def worker_token_create(
    engine: Engine, caller: Caller, params: WorkerTokenCreate
) -> results.workers.WorkerTokenCreated:
    """Make a token with which `sluice worker --url ADDRESS --token-file FILE` joins. Only the hash of its secret is
    kept. Group, tenants and what the worker may are fixed by it, and no worker can say otherwise later."""
    grant = WorkerGrant(
        params.group,
        tuple(sorted(set(params.tenants))),
        tuple(sorted(set(params.can))),
        params.slots,
        params.ephemeral,
    )
    approval = None if params.approval is None else params.approval == "manual"
    wanted = WantedToken(grant, params.name, params.uses, approval, params.expires_in_seconds)
    text, made = await engine.enrolment.create_token(caller, wanted)
    return {"token": text, **_token(made)}


def _token(one: WorkerToken) -> results.workers.WorkerToken:
    return {
        "id": one.id,
        "group": one.grant.group,
        "name": one.name,
        "tenants": list(one.grant.tenants),
        "can": list(one.grant.can),
        "slots": one.grant.most_slots,
        "ephemeral": one.grant.ephemeral,
        "uses": one.uses,
        "used": one.used,
        "approval": "manual" if one.approval else "auto",
        "usable": one.usable(clock.now_ns()),
        "created_at": clock.iso(one.created_at_ns),
        "created_by": one.created_by,
        "expires_at": clock.iso(one.expires_at_ns),
        "revoked_at": None if one.revoked_at_ns is None else clock.iso(one.revoked_at_ns),
    }


@operation(
    summary="List the tokens that let workers in.",
    http="GET /api/worker-tokens",
    toolset="workers",
    outline=LISTED,
    role=Role.ADMIN,
    platform=True,
    tool=False,
)
async def worker_token_list(
    engine: Engine, caller: Caller, params: Page
) -> results.Listing[results.workers.WorkerToken]:
    """List the worker tokens without their secrets, the newest first; `usable` says whether one still lets workers
    in."""
    return offset_page(await engine.enrolment.tokens(), params, _token)


class WorkerTokenRevoke(Params):
    id: str = Field(max_length=160)
    """The id of the token (slw_ and 16 characters); the whole token will do as well."""


async def _token_goes(engine: Engine, caller: Caller, params: WorkerTokenRevoke) -> Loss | None:
    found = await engine.enrolment.token(token_id(params.id))
    if found.revoked_at_ns is not None:
        return None
    text = f"The worker token {found.id} of group {found.grant.group} ends; {found.used} of {found.uses} uses were made"
    return Loss(f"{text}, and the workers that it let in stay.", where="worker_token_list")


@operation(
    summary="Withdraw a token that lets workers in.",
    http="POST /api/worker-tokens/{id}/revoke",
    toolset="workers",
    effect=Effect.DESTRUCTIVE,
    destroys=_token_goes,
    role=Role.ADMIN,
    platform=True,
    tool=False,
)
async def worker_token_revoke(engine: Engine, caller: Caller, params: WorkerTokenRevoke) -> results.workers.WorkerToken:
    """Withdraw a token at once. Workers that it let in before stay: worker_revoke ends those."""
    return _token(await engine.enrolment.revoke_token(caller, token_id(params.id)))


class WorkerCredentialList(Page):
    state: EnrolmentState | None = None
    """Only those in this state: pending, active, suspended, revoked."""


def _credential(one: Credential) -> results.workers.WorkerCredential:
    return {
        "id": one.id,
        "name": one.name,
        "group": one.grant.group,
        "state": one.state,
        "tenants": list(one.grant.tenants),
        "can": list(one.grant.can),
        "slots": one.grant.most_slots,
        "ephemeral": one.grant.ephemeral,
        "key": short(one.public_key),
        "generation": one.generation,
        "token": one.token,
        "address": one.address,
        "created_at": clock.iso(one.created_at_ns),
        "decided_at": None if one.decided_at_ns is None else clock.iso(one.decided_at_ns),
        "decided_by": one.decided_by,
    }


@operation(
    summary="List the credentials of workers of other machines.",
    http="GET /api/worker-credentials",
    toolset="workers",
    outline=LISTED,
    role=Role.ADMIN,
    platform=True,
    tool=False,
)
async def worker_credential_list(
    engine: Engine, caller: Caller, params: WorkerCredentialList
) -> results.Listing[results.workers.WorkerCredential]:
    """List who was let in, who waits for it (`pending`), and whose credential ended: group, what it may, the
    fingerprint of its key as the worker shows it on its machine, and from which address it came."""
    found = [one for one in await engine.enrolment.credentials() if params.state in (None, one.state)]
    return offset_page(found, params, _credential)


class WorkerSecrets(Page):
    name: str = Field(max_length=64)
    """The name of the worker, which may be gone."""


@operation(
    summary="List the secrets that a worker of another machine was ever given.",
    http="GET /api/workers/{name}/secrets",
    toolset="workers",
    outline=LISTED,
    role=Role.ADMIN,
    platform=True,
    tool=False,
)
async def worker_secrets(
    engine: Engine, caller: Caller, params: WorkerSecrets
) -> results.Listing[results.workers.WorkerSecret]:
    """List names and versions, never values, of all tenants: after a theft, what to set anew. `changed` says that it
    was set anew since."""

    def row(one: Disclosure) -> results.workers.WorkerSecret:
        return {
            "tenant": one.tenant,
            "secret": one.secret,
            "version": one.version,
            "changed": engine.vault.version(one.tenant, one.secret) != one.version,
            "first_given_at": clock.iso(one.first_at_ns),
            "last_given_at": clock.iso(one.last_at_ns),
        }

    found = await engine.fleet.disclosures.of(params.name)
    if not found and params.name not in engine.fleet.workers:
        await engine.enrolment.ever(params.name)
    return offset_page(found, params, row)


class NatsConfig(Params):
    streams: bool = False
    """Keep an account for channels with transport jetstream as well; the server reads the password of its user from
    the variable SLUICE_STREAMS_PASSWORD."""


@operation(
    summary="Write what makes a NATS server ask this engine whom to let in.",
    http="GET /api/nats/config",
    toolset="workers",
    offline=False,
    role=Role.ADMIN,
    platform=True,
    tool=False,
)
async def nats_config(engine: Engine, caller: Caller, params: NatsConfig) -> results.workers.NatsConfig:
    """Write the accounts of a NATS server for this engine (docs/workers.md): workers are let in by their tokens and
    credentials, and each has subjects of its own. The text holds no secret, and is the same as long as the identity of
    the engine is. Needs the extra `nats`."""
    return {"config": engine.gateway.nats_config(streams=params.streams)}


class WorkerApprove(Params):
    name: str = Field(max_length=64)
    """The name of the worker."""


@operation(
    summary="Let a worker join that waits for it, or that is suspended.",
    http="POST /api/workers/{name}/approve",
    toolset="workers",
    effect=Effect.WRITE,
    role=Role.ADMIN,
    platform=True,
    tool=False,
    idempotent=True,
)
async def worker_approve(engine: Engine, caller: Caller, params: WorkerApprove) -> results.workers.WorkerCredential:
    """Approve the credential of a worker. Compare its `key` with what the worker shows on its machine first."""
    return _credential(await engine.enrolment.approve(caller, params.name))


class WorkerRevoke(Params):
    name: str = Field(max_length=64)
    """The name of the worker."""
    wait_seconds: int = Field(default=10, ge=0, le=300)
    """How long to wait until what moves has settled."""


async def _credential_goes(engine: Engine, caller: Caller, params: WorkerRevoke) -> Loss | None:
    found = await engine.enrolment.of(params.name)
    ids = engine.fleet.on(params.name)
    text = f"The worker {found.name} of group {found.grant.group} is shut out for good (key {short(found.public_key)})"
    return Loss(f"{text}; what it runs, {len(ids)} workloads, moves to others of its group.", where="worker_get")


@operation(
    summary="End the credential of a worker: its session ends, and what it runs moves.",
    http="POST /api/workers/{name}/revoke",
    toolset="workers",
    effect=Effect.DESTRUCTIVE,
    destroys=_credential_goes,
    role=Role.ADMIN,
    platform=True,
    tool=False,
)
async def worker_revoke(engine: Engine, caller: Caller, params: WorkerRevoke) -> results.workers.WorkerRevoked:
    """End a credential for good. The session ends within a second, what the worker ran moves at once as far as there
    is room (`stays` names the rest), and the worker is forgotten. Secrets that it was given should be changed:
    worker_secrets names them."""
    ended = await engine.enrolment.revoke(caller, params.name)
    await engine.gateway.end(params.name, "its credential was revoked")
    if params.name not in engine.fleet.workers:
        return {**_credential(ended), "moved": [], "stays": [], "moved_in_all": 0, "stays_in_all": 0}
    given = await engine.drainer.vacate(caller, params.name, gone=True)
    await engine.workforce.forget(caller, params.name)
    return {**_credential(ended), **await engine.drainer.leaving(caller, given, params.wait_seconds)}
