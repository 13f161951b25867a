"""Credentials, whom they stand for, and who did what."""

from typing import Annotated, Literal, NotRequired, TypedDict

from core.model.binding import Kind as BindingKind
from core.model.principal import Role, Surface
from core.model.results.basics import Row, Time


class Rights(TypedDict):
    """Whom a credential stands for, and what it may."""

    username: str
    role: Annotated[str, Role]
    tenants: list[str]
    """* for every one."""
    platform: bool
    """Also on what all tenants share."""
    scopes: list[str]
    """What it is limited to; empty: to nothing."""
    roles: NotRequired[dict[str, Annotated[str, Role]]]
    """By tenant, where the role is another one than `role`."""


class Token(Row):
    """An API token, without its secret."""

    id: str
    name: str
    username: str
    role: Annotated[str, Role]
    tenants: list[str]
    """* for every one."""
    platform: bool
    """Also on what all tenants share."""
    scopes: list[str]
    """What it is limited to; empty: to nothing."""
    created_at: Time
    expires_at: Time | None
    """null: never."""
    last_used_at: Time | None
    revoked: bool
    made_by: str | None
    """The token that it was made with, and ends with."""


class TokenCreated(Token):
    """An API token; its secret is told this once."""

    token: str


_With = TypedDict("_With", {"with": list[str]})


class TokenRevoked(_With):
    """A token that is withdrawn, `with` all that were made with it."""

    id: str
    revoked: bool


class RoleBinding(Row):
    """Which role whom has in a tenant."""

    id: str
    kind: Annotated[str, BindingKind]
    name: str
    """The group, the `sub` of the person, or the service account as TENANT/NAME."""
    issuer: str | None
    """The provider that it is of; null for a service account."""
    tenant: str
    """* for every one."""
    role: Annotated[str, Role]
    platform: bool
    """Also on what all tenants share."""
    created_at: Time
    created_by: str


class RoleBindingDeleted(TypedDict):
    """A role binding that is gone."""

    id: str
    deleted: bool


class ServiceAccount(Row):
    """A name that owns API keys and signs in nowhere."""

    name: str
    tenant: str
    """Whose admins look after it."""
    description: str
    roles: dict[str, Annotated[str, Role]]
    """By tenant."""
    keys: list[str]
    """The ids of its keys."""
    created_at: Time
    created_by: str


class ServiceAccountDeleted(TypedDict):
    """A service account that is gone, and the keys that went with it."""

    name: str
    deleted: bool
    keys: list[str]


class AccountKey(Rights):
    """A key of a service account; its secret is told this once."""

    token: str
    id: str
    name: str
    """The account."""
    expires_at: Time | None
    """null: never."""


class TokenMinted(TypedDict):
    """A JWT of the API key of the request; it is told this once."""

    access_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    expires_at: Time
    username: str


class WhoAmI(TypedDict):
    """The identity behind a call."""

    username: str
    role: Role
    tenant: str
    """In which the call acts."""
    tenants: list[str]
    """* for every one."""
    platform: bool
    scopes: list[str]
    """What it is limited to; empty: to nothing."""


class TokenVerified(Rights):
    """Whom a token stands for."""

    credential: str
    """The id of the API key."""
    minted: bool
    """It is a JWT of that key."""
    mcp_only: bool
    """It opens /mcp alone."""
    ends_in_seconds: float | None
    """null: never."""


class CredentialState(TypedDict):
    """What an API key is now; all but `state` only of a valid one."""

    state: Annotated[str, Literal["valid", "expired", "revoked", "forbidden"]]
    username: NotRequired[str]
    role: NotRequired[Annotated[str, Role]]
    tenants: NotRequired[list[str]]
    platform: NotRequired[bool]
    scopes: NotRequired[list[str]]
    roles: NotRequired[dict[str, Annotated[str, Role]]]


class CredentialsChecked(TypedDict):
    """What some API keys are now, by id."""

    items: dict[str, CredentialState]


class AuditEntry(Row):
    """What was done, or refused."""

    at: Time
    username: str
    role: Annotated[str, Role]
    surface: Annotated[str, Surface]
    label: str
    """The name of the session."""
    operation: str
    target: str
    decision: str
    """allowed, or the code of the refusal."""
    reason: str


class ConsoleLink(TypedDict):
    """What opens the console once; it is told this once."""

    code: str
    path: str
    """Behind the address of the server."""
    expires_in: int
    """Seconds."""


class BrowserSession(TypedDict):
    """The token of a browser, for the HTTP door to leave in a cookie."""

    token: str
    seconds: int
    """For how long it holds."""


class SignedOut(TypedDict):
    """The end of the session of a browser."""

    ended: bool
    """false: the caller's credential is none of a browser."""


class LoginBegan(TypedDict):
    """Where a browser signs in, and what it keeps until it comes back."""

    url: str
    transaction: str
    seconds: int
    """For how long it may."""


class LoginCompleted(BrowserSession):
    """The session of a person, and where the browser goes."""

    place: str


class LoginsEnded(TypedDict):
    """Sign-ins that have ended."""

    ended: int


class LoginMethods(TypedDict):
    """How people sign in besides with API keys and links."""

    provider: str | None
    """The issuer; null: there is none."""


class DeviceBegan(TypedDict):
    """What a program keeps and shows that signs in."""

    device_code: str
    user_code: str
    path: str
    """Where it is approved, behind the address of the server."""
    interval: int
    """Seconds between two polls."""
    expires_in: int
    """Seconds."""


class DevicePolled(TypedDict):
    """How it stands with such a program."""

    state: Annotated[str, Literal["pending", "slow_down", "done"]]
    access_token: NotRequired[str]
    username: NotRequired[str]
    expires_at: NotRequired[Time]


class DeviceNamed(TypedDict):
    """Which program shows a code, and what was decided."""

    name: str
    """What it calls itself."""
    decision: Annotated[str, Literal["look", "approve", "deny"]]


class McpGrantAsked(TypedDict):
    """What an MCP host asks for, as users are shown it."""

    client_id: str
    name: str
    place: str
    """Where the answer goes."""
    scopes: dict[str, str]
    """Each with what it means."""


class McpGrantApproved(TypedDict):
    """What the host exchanges for tokens."""

    code: str


class McpTokens(TypedDict):
    """The tokens of an MCP host."""

    access_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    refresh_token: str
    scope: str


class McpTokenEnded(TypedDict):
    """Whether something ended."""

    ended: bool
