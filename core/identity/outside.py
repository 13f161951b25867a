"""Access tokens of the provider at /mcp, where it is the authorization server of MCP hosts (`mcp_auth = "external"`).

A token is a JWT (RFC 9068) for exactly this resource, of exactly this issuer. Who it is for has the rights of his role
bindings, by his groups in the token, within its scopes. The provider ends it by its end alone.
"""

from __future__ import annotations

from typing import NamedTuple

from core import clock, errors
from core.identity import idtokens, signing_in
from core.identity.mcp_grants import MCP, SCOPES
from core.identity.provider import Provider
from core.model.binding import Held, held
from core.settings import Settings
from core.store import audit, role_bindings
from core.store import logins as table
from core.store.database import Database
from core.store.logins import Person


class Outsider(NamedTuple):
    """Whom a token of the provider stands for, within which scopes, and for how long."""

    username: str
    rights: Held
    scopes: tuple[str, ...]
    seconds: float


class Outside:
    """Of one engine."""

    def __init__(self, settings: Settings, database: Database, ids: clock.Ids, provider: Provider) -> None:
        self._settings = settings
        self._database = database
        self._ids = ids
        self._provider = provider

    def takes(self, token: str) -> bool:
        """Whether a token is to be read here."""
        return self._settings.mcp_auth == "external" and idtokens.is_access_token(token)

    async def verify(self, token: str) -> Outsider:
        """Whom it stands for. Raises Unauthenticated for what proves nobody, or somebody without a role binding or a
        scope; TargetUnavailable."""
        issuer, resource = self._settings.oidc_issuer, self._settings.public_url + MCP
        claims = await self._provider.claims(token, resource)
        if claims.get("aud") not in (resource, [resource]) or not isinstance(claims.get("exp"), int | float):
            raise idtokens.Refused("This token is for something else as well, or has no end.")
        subject = idtokens.subject_of(claims)
        groups = idtokens.groups(claims, self._settings.oidc_groups_claim) or ()
        said = claims.get("scope", "")
        asked = said.split() if isinstance(said, str) else []
        scopes = [own for name, own in SCOPES.items() if name in asked]
        found = await self._database.read(role_bindings.of_person, issuer, subject, list(groups))
        rights = held(found)
        if rights is None or not scopes:
            raise errors.Unauthenticated(
                "The provider vouches for you, and no role is bound to you here, or the token has none of the scopes.",
                hint=f"Scopes: {', '.join(SCOPES)}. An admin binds roles: sluice role bind",
            )
        person = await self._database.read(table.person, issuer, subject)
        if person is None:
            person = await self._keep(Person(issuer, subject, "", "", "", clock.now_ns(), clock.now_ns()), claims)
        seconds = claims["exp"] - clock.now_ns() / clock.NANOSECONDS
        return Outsider(person.username, rights, tuple(scopes[-1:]), seconds)

    async def _keep(self, who: Person, claims: dict[str, object]) -> Person:
        def name(taken: signing_in.Taken) -> str:
            return signing_in.username(claims, who.issuer, who.subject, taken)

        def note(username: str) -> audit.AuditRow:
            caller = signing_in.as_person(username)
            return audit.row(self._ids.next(), caller, "token_verify", f"{who.subject} of {who.issuer}, at first sight")

        return await self._database.write(table.keep_person, who, name, note)
