"""A NATS server that knows this engine: it asks it whom to let in (core.external.callout), and keeps every worker to
subjects of its own.

Three accounts: SLUICE, where engine and workers meet and nobody else is; SYS, the server's own, in which the engine
ends connections; and, if wanted, STREAMS, whose JetStream keeps channels and which has a user of its own. The keys of
the engine follow from its identity, and the configuration of the server names their public halves alone (NATS: Auth
Callout, https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_callout; nkeys).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import errors, natsclient
from core.external import nats
from core.external.identity import Identity

if TYPE_CHECKING:  # an extra, which an installation without NATS does not have
    from nkeys import KeyPair

ACCOUNT = "SLUICE"
SYSTEM_ACCOUNT = "SYS"
STREAMS_ACCOUNT = "STREAMS"
STREAMS_USER = "streams"
WHO_AM_I = "$SYS.REQ.USER.INFO"  # what a server tells its user of itself
STREAMS_PASSWORD = "SLUICE_STREAMS_PASSWORD"  # the variable that has it; a password is in no file that we write


@dataclass(frozen=True, slots=True)
class Accounts:
    """The keys of one engine."""

    issuer: KeyPair
    """What lets users into SLUICE."""
    engine: KeyPair
    """The engine as a user of SLUICE."""
    system: KeyPair
    """The engine as a user of SYS."""


def of(identity: Identity) -> Accounts:
    """The keys that follow from an identity: the same each time. Raises TargetUnavailable without the extra `nats`."""
    nats.require()
    import nkeys

    def pair(purpose: bytes, kind: int) -> KeyPair:
        return nkeys.from_seed(bytearray(nkeys.encode_seed(identity.derive(purpose), kind)))

    return Accounts(
        pair(b"nats issuer", nkeys.PREFIX_BYTE_ACCOUNT),
        pair(b"nats engine", nkeys.PREFIX_BYTE_USER),
        pair(b"nats system", nkeys.PREFIX_BYTE_USER),
    )


def public(pair: KeyPair) -> str:
    """The half of a key that may be told."""
    return bytes(pair.public_key).decode()


def configuration(keys: Accounts, name: str, *, streams: bool) -> str:
    """What makes a NATS server that of the engine with this name, to be included in its configuration."""
    accounts = [
        f"  {ACCOUNT} {{ users: [ {{ nkey: {public(keys.engine)} }} ] }}",
        f"  {SYSTEM_ACCOUNT} {{ users: [ {{ nkey: {public(keys.system)} }} ] }}",
    ]
    if streams:
        user = f"{{ user: {STREAMS_USER}, password: ${STREAMS_PASSWORD} }}"
        accounts.append(f"  {STREAMS_ACCOUNT} {{ jetstream: enabled, users: [ {user} ] }}")
    lines = [
        f"# For the NATS server of the Sluice engine {name}, whose keys these are; written by: sluice nats-config",
        "# No secret is in it. Include it in the configuration of the server, which says port, tls and jetstream:",
        "#   include ./sluice-accounts.conf",
        "accounts {",
        *accounts,
        "}",
        f"system_account: {SYSTEM_ACCOUNT}",
        "authorization {",
        "  auth_callout {",
        f"    issuer: {public(keys.issuer)}",
        f"    account: {ACCOUNT}",
        f"    auth_users: [ {public(keys.engine)} ]",
        f"    allowed_accounts: [ {ACCOUNT} ]",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


async def knock(url: str, name: str, keys: Accounts) -> nats.Wire:
    """Come as the engine with its key, which a server asks for that knows it, or as the address says. Raises
    TargetUnavailable."""
    try:
        return await nats.connect(url, name, nkeys_seed_str=bytes(keys.engine.seed).decode())
    except errors.TargetUnavailable:
        if not natsclient.has_credentials(url):
            raise
    return await nats.connect(url, name)


async def is_asked(wire: nats.Wire, keys: Accounts) -> bool:
    """Whether the server has let the engine in by its key: then it was told whom to ask as well."""
    told = await wire.ask(WHO_AM_I, b"", nats.FLUSH_SECONDS)
    return told is not None and public(keys.engine).encode() in told
