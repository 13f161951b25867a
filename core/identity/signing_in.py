"""Signing in with a provider: code + PKCE, who that is, and for how long what the provider said counts.

A login (store/logins) is one sign-in. Credentials hang on it: the session of a browser, that of a command line. Their
rights follow the role bindings of its person and groups. Groups are read again every READ_SECONDS; when the provider
refuses that, the login ends, and when it cannot be asked, tokens.GROUPS_SECONDS after it was asked last.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core import clock, errors
from core.identity import idtokens, tokens
from core.identity.provider import Answer, Provider
from core.identity.tokens import Tokens, Wanted
from core.model.principal import PLATFORM, Caller, Principal, Role, Surface
from core.settings import Settings
from core.store import audit
from core.store import logins as table
from core.store.database import Database
from core.store.logins import Login, Person

log = structlog.get_logger("core.identity.signing_in")

CALLBACK = "/api/login/callback"
HOME = "/console/"
TRANSACTION_SECONDS = 600
SESSION_SECONDS = 12 * 3600
IDLE_SECONDS = 3600
READ_SECONDS = 900
LOOK_SECONDS = 20.0
AT_ONCE = 8  # providers' answers that are waited for together
MOST_DUE = 200
KEEP_SECONDS = 7 * 86_400
PRUNE_SECONDS = 3600
NONCE_BYTES = 12
_PLACE = re.compile(r"/(?:console|oauth)/[\x21-\x7e]{0,2000}|/console/").fullmatch
_ODD = re.compile(r"[^a-z0-9._@+-]+").sub


Taken = Callable[[str], bool]
"""Whether somebody has a user name."""


class Seals(Protocol):
    """Keeps a text that nobody may read (core.contexts.envelopes)."""

    async def seal(self, text: str, bound: str, audit_id: int) -> bytes: ...

    def open(self, sealed: bytes, bound: str) -> str: ...


class Began(NamedTuple):
    """A sign-in that begins: where the browser goes, and what it keeps until it comes back."""

    url: str
    transaction: str


class SignedIn(NamedTuple):
    """Somebody came back: the session of the browser, for how long it holds, and where the browser goes."""

    token: str
    seconds: int
    place: str


class _Said(NamedTuple):
    """What a provider said of somebody."""

    subject: str
    session: str
    groups: tuple[str, ...]
    claims: Mapping[str, Any]


class SigningIn:
    """Of one engine. `seals` keeps refresh tokens, `announce` tells the doors of sessions that end."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ids: clock.Ids,
        credentials: Tokens,
        seals: Seals,
        announce: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.provider = Provider(settings)
        self._settings = settings
        self._database = database
        self._ids = ids
        self._tokens = credentials
        self._seals = seals
        self._announce = announce
        self._prune_at_ns = 0
        self._key = AESGCM(secrets.token_bytes(32))  # of transactions, which end with this engine

    # -- coming in -----------------------------------------------------------------------------------------

    async def begin(self, place: str) -> Began:
        """Send a browser to the provider; `place` is where it goes afterwards, on this server.

        Raises InvalidParams where no provider is set, TargetUnavailable.
        """
        self._expect_provider()
        verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        scopes = self._settings.oidc_scopes
        url = await self.provider.authorization_url(
            {
                "response_type": "code",
                "client_id": self._settings.oidc_client_id,
                "redirect_uri": self._settings.public_url + CALLBACK,
                "scope": " ".join(scopes),
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
                **({"prompt": "consent"} if "offline_access" in scopes else {}),
            }
        )
        ends = clock.now_ns() // clock.NANOSECONDS + TRANSACTION_SECONDS
        place = place if _PLACE(place) else HOME
        kept = orjson.dumps([state, nonce, verifier, place, ends])
        once = secrets.token_bytes(NONCE_BYTES)
        return Began(url, base64.urlsafe_b64encode(once + self._key.encrypt(once, kept, None)).decode())

    async def complete(self, query: Mapping[str, str], transaction: str) -> SignedIn:
        """Take in who comes back from the provider with `query`, in the browser that keeps `transaction`.

        Raises Unauthenticated (idtokens.Refused) for what proves nobody, Forbidden for somebody without a role
        binding, TargetUnavailable.
        """
        self._expect_provider()
        state, nonce, verifier, place = self._opened(transaction)
        if not secrets.compare_digest(query.get("state", "").encode(), state.encode()):
            raise idtokens.Refused("This sign-in was begun elsewhere, or twice.", hint="Sign in again.")
        known = await self.provider.metadata()
        issuer = query.get("iss")
        if issuer != known.issuer and (issuer is not None or known.answers_issuer):
            raise idtokens.Refused("The answer to this sign-in is of another provider (iss).", hint="Sign in again.")
        if "code" not in query:
            why = errors.shorten(ascii(query.get("error", "")), 60)
            raise idtokens.Refused(f"The provider did not sign you in: {why}.", hint="Sign in again.")
        answer = await self.provider.exchange(query["code"], verifier, self._settings.public_url + CALLBACK)
        said = await self._read(answer, nonce)
        token, seconds = await self._let_in(said, answer.refresh_token)
        return SignedIn(token, seconds, place)

    def _opened(self, transaction: str) -> tuple[str, str, str, str]:
        try:
            raw = base64.urlsafe_b64decode(transaction)
            state, nonce, verifier, place, ends = orjson.loads(
                self._key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None)
            )
        except (ValueError, InvalidTag):
            ends = 0
        if ends <= clock.now_ns() // clock.NANOSECONDS:
            raise idtokens.Refused(
                "This browser has begun no sign-in, or did so too long ago.", hint="Sign in again, in ten minutes."
            )
        return state, nonce, verifier, place

    async def _read(self, answer: Answer, nonce: str | None, subject: str = "") -> _Said:
        """What the provider says of somebody: by the ID token, and by userinfo what that one lacks. `subject` is whom
        an answer without an ID token has to be about."""
        claims: dict[str, Any] = {}
        if answer.id_token:
            claims = await self.provider.claims(answer.id_token)
            own = idtokens.identity(claims, nonce, self._settings.oidc_client_id)
            if subject and own != subject:
                raise idtokens.Refused("The provider speaks of another person now.")
            subject = own
        if not subject:
            raise idtokens.Refused(idtokens.NO_SUBJECT)
        groups = idtokens.groups(claims, self._settings.oidc_groups_claim)
        if groups is None or not answer.id_token:
            more = await self.provider.userinfo(answer.access_token)
            if more and more.get("sub") != subject:
                raise idtokens.Refused("The provider's userinfo speaks of another person.")
            if not more and not answer.id_token:
                raise idtokens.Refused("The provider says nothing of this person any more.")
            claims = {**more, **claims}
            groups = idtokens.groups(claims, self._settings.oidc_groups_claim)
        session = claims.get("sid")
        return _Said(subject, session if isinstance(session, str) else "", groups or (), claims)

    async def _let_in(self, said: _Said, refresh_token: str) -> tuple[str, int]:
        issuer, now = self._settings.oidc_issuer, self._tokens.steady.now_ns()
        id = "lgn_" + clock.token(16)
        renewal = await self._sealed(refresh_token, id)
        display = _text(said.claims, "name")
        person = Person(issuer, said.subject, "", display, _text(said.claims, "email"), now, now)
        login = Login(id, issuer, said.subject, said.session, said.groups, now, renewal, now)
        if not await self._database.read(table.bindings_of, login):
            await self._refuse(said)

        def note(username: str) -> audit.AuditRow:
            return audit.row(self._ids.next(), as_person(username), "login_complete", f"{said.subject} of {issuer}")

        def name(taken: Callable[[str], bool]) -> str:
            return username(said.claims, issuer, said.subject, taken)

        person = await self._database.write(table.begin, person, login, name, note)
        seconds = SESSION_SECONDS if renewal else tokens.GROUPS_SECONDS
        made = Wanted("browser", person.username, Role.VIEWER, [], seconds, False, [], IDLE_SECONDS, login=id)
        secret, _ = await self._tokens.hang(as_person(person.username), made, "login_complete")
        return secret, seconds

    async def _refuse(self, said: _Said) -> None:
        """Record that somebody was not let in, and raise Forbidden."""
        groups = ", ".join(said.groups) or "none"
        # Nobody has this name: the entry is about no user of ours.
        mark = hashlib.sha256(orjson.dumps([self._settings.oidc_issuer, said.subject])).hexdigest()
        who = as_person(f"{_candidate(said.claims, said.subject)}-{mark[:32]}")
        target = errors.shorten(f"{said.subject}; groups: {groups}", 200)
        note = audit.row(self._ids.next(), who, "login_complete", target, errors.Forbidden.code)
        await self._database.write(audit.insert, note)
        raise errors.Forbidden(
            f"The provider knows you, and nobody has given you a role here. It calls you {said.subject}; groups:"
            f" {errors.shorten(groups, 200)}.",
            hint="Ask an admin for a role binding: sluice role bind ROLE --group GROUP (or --person).",
        )

    # -- staying, and going --------------------------------------------------------------------------------

    async def keep(self) -> None:
        """A round of the loop: read the groups again of logins that are due."""
        await asyncio.sleep(LOOK_SECONDS)
        await self.read_again()

    async def read_again(self, older_than_seconds: float = READ_SECONDS) -> None:
        """Read the groups again of every login whose groups are older, and end those that the provider refuses."""
        now = self._tokens.steady.now_ns()
        before = now - int(older_than_seconds * clock.NANOSECONDS)
        due = await self._database.read(table.due, before, now, MOST_DUE)
        for start in range(0, len(due), AT_ONCE):
            await asyncio.gather(*map(self._renew, due[start : start + AT_ONCE]))
        if self._prune_at_ns <= now:
            self._prune_at_ns = now + PRUNE_SECONDS * clock.NANOSECONDS
            await self._database.write(table.prune, now - KEEP_SECONDS * clock.NANOSECONDS)

    async def _renew(self, login: Login) -> None:
        assert login.renewal is not None
        try:
            answer = await self.provider.refresh(self._seals.open(login.renewal, login.id))
            said = await self._read(answer, None, login.subject)
        except idtokens.Refused as error:
            await self._end([login.id], "refused", f"{login.subject}: {error.message}")
            return
        except (errors.TargetUnavailable, errors.SecretsLocked) as error:
            log.warning("groups_not_read", login=login.id, error=error.message)
            return
        renewal = await self._sealed(answer.refresh_token, login.id)
        await self._database.write(table.renew, login.id, said.groups, self._tokens.steady.now_ns(), renewal)
        if set(said.groups) != set(login.groups):
            self._announce("tokens", {})

    async def log_out(self, logout_token: str) -> int:
        """End what a logout token of the provider says; how many logins that were. Raises idtokens.Refused,
        TargetUnavailable, InvalidParams where no provider is set."""
        self._expect_provider()
        ended = idtokens.logout(await self.provider.claims(logout_token), clock.now_ns())
        issuer = self._settings.oidc_issuer
        found = await self._database.read(table.open_of, issuer, ended.subject, ended.session)
        await self._end(found, "logged out", ended.subject or f"session {ended.session}")
        return len(found)

    async def _end(self, ids: list[str], because: str, target: str) -> None:
        if not ids:
            return
        note = audit.row(self._ids.next(), as_person("sluice"), "login_end", f"{because}: {target}")
        await self._database.write(table.end, ids, self._tokens.steady.now_ns(), because, [note])
        self._announce("tokens", {})

    async def _sealed(self, refresh_token: str, id: str) -> bytes | None:
        if not refresh_token:
            return None
        try:
            return await self._seals.seal(refresh_token, id, self._ids.next())
        except errors.SecretsLocked as error:  # the session then ends after an hour
            log.warning("refresh_token_not_kept", login=id, error=error.message)
            return None

    def _expect_provider(self) -> None:
        if not self.provider.wanted:
            raise errors.InvalidParams(
                "This engine has no provider to sign in with.", hint="Set oidc_issuer (docs/signing-in.md)."
            )

    async def aclose(self) -> None:
        await self.provider.aclose()


def username(claims: Mapping[str, Any], issuer: str, subject: str, taken: Callable[[str], bool]) -> str:
    """The user name of a person in our records, chosen once: what the provider calls him where nobody has that name,
    and otherwise the same with a mark of its own."""
    wanted = _candidate(claims, subject)
    if wanted not in tokens.owners() and not taken(wanted):
        return wanted
    mark = hashlib.sha256(orjson.dumps([issuer, subject])).hexdigest()
    return next(name for length in (6, 12, 32) if not taken(name := f"{wanted}-{mark[:length]}"))


def _candidate(claims: Mapping[str, Any], subject: str) -> str:
    found = next((one for name in ("preferred_username", "email") if (one := _text(claims, name))), subject)
    return _ODD("-", found.lower()).strip("-._@+")[:60] or "person"


def as_person(username: str) -> Caller:
    """Who signs in, in the records."""
    return Caller(Principal(username, Role.VIEWER, ()), PLATFORM, Surface.HTTP)


def _text(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    return found[:200] if isinstance(found, str) and found.isprintable() else ""
