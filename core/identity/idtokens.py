"""ID tokens and logout tokens of an OpenID Connect provider: what one has to be, and what it says. Pure.

OpenID Connect Core 1.0, 3.1.3.7, and Back-Channel Logout 1.0, 2.6. The algorithms are those of a provider's public
keys; the one of our own tokens (core.identity.jwts) is in no list together with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core import clock, errors

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
FAMILIES = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("EdDSA",)}  # of a key, by its kty: no key of ours is `oct`
LEEWAY_SECONDS = 60
MOST_GROUPS = 500
MOST_CHARACTERS = 255  # of a subject, and of the name of a group
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
NO_SUBJECT = "The provider names nobody (sub)."


class Refused(errors.Unauthenticated):
    """What a provider sent does not prove who somebody is."""


class Key(NamedTuple):
    """A public key of a provider."""

    kid: str
    algorithm: str  # the one that it says it is for, or nothing
    material: Any


class Logout(NamedTuple):
    """Whose sessions a provider has ended: a session of its own, or a person."""

    subject: str
    session: str


def header_of(token: str) -> tuple[str, str]:
    """(algorithm, key id) of a token, unproven. Raises Refused."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        raise Refused("The provider sent a token that cannot be read.") from error
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if algorithm not in ALGORITHMS:
        raise Refused(f"The provider signs with {errors.shorten(ascii(algorithm), 20)}, which is not accepted.")
    return str(algorithm), str(kid)


def is_access_token(token: str) -> bool:
    """Whether a text calls itself an access token that is a JWT (RFC 9068, 2.1), unproven."""
    import jwt

    try:
        found = str(jwt.get_unverified_header(token).get("typ", ""))
    except jwt.InvalidTokenError:
        return False
    return found.lower().removeprefix("application/") == "at+jwt"


def keys_of(document: Any) -> list[Key]:
    """The signing keys in a JWKS; what is no key for signatures, or cannot be read, is left out."""
    import jwt

    found: list[Key] = []
    for one in (document.get("keys") if isinstance(document, dict) else None) or ():
        if not isinstance(one, dict) or one.get("kty") not in FAMILIES or one.get("use", "sig") != "sig":
            continue
        kid, algorithm = str(one.get("kid", "")), str(one.get("alg", ""))
        try:
            # Without an `alg` the library takes the usual one of the kind of key; which one counts is asked below.
            material = jwt.PyJWK(one).key
        except jwt.PyJWTError:
            continue
        found.append(Key(kid, algorithm, (one["kty"], material)))
    return found


def fitting(keys: Sequence[Key], algorithm: str, kid: str) -> Key | None:
    """The key that a token names; without a name the only one of its kind."""
    able = [one for one in keys if algorithm.startswith(FAMILIES[one.material[0]]) and one.algorithm in ("", algorithm)]
    if kid:
        return next((one for one in able if one.kid == kid), None)
    return able[0] if len(able) == 1 else None


def read(token: str, key: Key, algorithm: str, issuer: str, audience: str, now_ns: int) -> dict[str, Any]:
    """The claims of a token that the provider signed for this client and that is valid now. Raises Refused."""
    import jwt

    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.material[1],
            algorithms=[algorithm],
            audience=audience,
            issuer=issuer,
            # The times are compared below, with `now_ns`.
            options={
                "require": ["iss", "aud", "iat"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.InvalidTokenError as error:
        raise Refused(
            f"The token of the provider is not accepted: {errors.shorten(str(error), 100)}.",
            hint="The settings oidc_issuer and oidc_client_id have to be those that the provider knows.",
        ) from error
    now = now_ns / clock.NANOSECONDS
    issued, ends, begins = claims["iat"], claims.get("exp"), claims.get("nbf", 0)
    if not all(isinstance(one, int | float) for one in (issued, begins, ends if ends is not None else 0)):
        raise Refused("The token of the provider has times that are none.")
    if issued > now + LEEWAY_SECONDS or begins > now + LEEWAY_SECONDS:
        raise Refused("The token of the provider is from the future.", hint="Compare the clocks of both machines.")
    if ends is not None and ends <= now - LEEWAY_SECONDS:
        raise Refused("The token of the provider has ended.", hint="Compare the clocks of both machines.")
    return claims


def identity(claims: Mapping[str, Any], nonce: str | None, audience: str) -> str:
    """The subject of an ID token. `nonce` is the one that was sent, None for a renewed token. Raises Refused."""
    if claims.get("exp") is None:
        raise Refused("The ID token of the provider has no end.")
    if nonce is not None and claims.get("nonce") != nonce:
        raise Refused("The ID token of the provider is not for this sign-in (nonce).", hint="Sign in again.")
    party = claims.get("azp")
    several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
    if (several or party is not None) and party != audience:
        raise Refused("The ID token of the provider was made for another client (azp).")
    return subject_of(claims)


def subject_of(claims: Mapping[str, Any]) -> str:
    """The `sub` of a token. Raises Refused for one that is none."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MOST_CHARACTERS:
        raise Refused(NO_SUBJECT)
    return subject


def logout(claims: Mapping[str, Any], now_ns: int) -> Logout:
    """What a logout token ends. Raises Refused."""
    events = claims.get("events")
    if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
        raise Refused("This is no logout token.")
    if now_ns / clock.NANOSECONDS - claims["iat"] > 10 * LEEWAY_SECONDS:
        raise Refused("The logout token is old.")
    subject, session = claims.get("sub", ""), claims.get("sid", "")
    if not (isinstance(subject, str) and isinstance(session, str)) or not (subject or session):
        raise Refused(NO_SUBJECT)
    return Logout(subject, session)


def groups(claims: Mapping[str, Any], claim: str) -> tuple[str, ...] | None:
    """The groups that claims name; None when the claim is not among them.

    A claim with dots leads into objects, as realm_access.roles does, unless one has the whole name. Raises Refused
    where a provider says that there are too many to be told (Microsoft Entra: "overage").
    """
    found: Any = claims
    for part in [claim] if claim in claims else claim.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        sources = claims.get("_claim_names")
        if (isinstance(sources, dict) and claim in sources) or claims.get("hasgroups") is True:
            raise Refused(
                "The provider does not tell the groups of this person, because there are too many.",
                hint="Have it tell only the groups that are assigned to this application (docs/signing-in.md).",
            )
        return None
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise Refused(f"The claim {errors.shorten(claim, 60)} of the provider is no list of groups.")
    if len(listed) > MOST_GROUPS:
        raise Refused(f"The provider names {len(listed)} groups; at most {MOST_GROUPS} are read.")
    return tuple(sorted({one for one in listed if 0 < len(one) <= MOST_CHARACTERS}))
