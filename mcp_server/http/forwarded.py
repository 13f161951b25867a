"""Behind a proxy: whose request it is that a trusted proxy hands on, and whether its client came over HTTPS.

Everybody can write such headers, so they count only where the connection itself comes from a trusted proxy, and only as
far as trusted proxies have written them: the client is the rightmost address that is none of theirs, since each proxy
adds at the end the address that it was called from. Everything to the left of it is the client's own word. `Forwarded`
(RFC 7239) is not read: a proxy hands on, as the client wrote it, whichever of the two headers it does not write itself,
and nothing in a request tells which one that is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any

from core import accepting, errors

Scope = MutableMapping[str, Any]
Headers = Iterable[tuple[bytes, bytes]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_UNDER_WAY = 250  # where nobody says how many
MOST_HOPS = 32  # that are looked at, from the right
RETRY_SECONDS = 1


def _not_counted(address: str) -> None:
    """Nobody counts."""


class Proxies:
    """The proxies that are believed. Without any, nothing that a request says about its way counts."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Raises ValueError for what is neither an address nor a network."""
        self._networks: tuple[Network, ...] = tuple(ipaddress.ip_network(one, strict=False) for one in trusted)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether this is one of them."""
        found = _address(address)
        return found is not None and self._has(found)

    def stands_for_many(self, share: str) -> bool:
        """Whether one of them calls from this address, or network of 64 bits."""
        try:
            found = ipaddress.ip_network(share)
        except ValueError:  # a process of this machine
            return False
        return any(one.version == found.version and one.overlaps(found) for one in self._networks)

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def origin(self, peer: str, headers: Headers) -> tuple[str, str] | None:
        """The address of the client and the scheme it used ("" when nothing says it), of a request from this peer.

        None when the peer is no trusted proxy. A proxy that says nothing, or nothing that can be read, speaks for
        itself: its own address is the client's.
        """
        if not self._networks or not self.trusts(peer):
            return None
        held = [(name, value.decode("latin-1")) for name, value in headers if name in _NAMES]
        client, scheme = peer, next(iter(_schemes(held)[-1:]), "")
        for address, used in _hops(held):
            if address is None:
                break  # what no proxy of ours writes; nor can be trusted what is to the left of it
            client, scheme = str(address), used or scheme
            if not self._has(address):
                break
        return client, scheme

    def placed(self, scope: Scope) -> str | None:
        """Have a request be its client's: `client` and `scheme` of the scope. Its client, if a proxy handed it on."""
        peer = (scope.get("client") or ("", 0))[0]
        found = self.origin(str(peer), scope["headers"])
        if found is None:
            return None
        client, scheme = found
        scope["client"] = (client, 0)
        if scheme:
            scope["scheme"] = scheme
        return None if client == str(peer) else client


_NAMES = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_SCHEMES = frozenset({"http", "https"})

Hop = tuple[Address | None, str]
"""Who called the proxy that wrote this (None: it cannot be read), and by which scheme."""


def _hops(headers: Iterable[tuple[bytes, str]]) -> list[Hop]:
    """From the right. The schemes belong to the addresses when there are as many; a single one is the client's."""
    held = list(headers)
    addresses = _listed(held, b"x-forwarded-for")
    schemes = _schemes(held)
    if len(schemes) != len(addresses):
        # A proxy that overwrites the one and adds to the other: the last scheme is what a proxy of ours has written.
        schemes = [schemes[-1] if schemes else ""] * len(addresses)
    both = list(zip(addresses, schemes, strict=True))[-MOST_HOPS:]
    return [(_address(address), scheme) for address, scheme in reversed(both)]


def _schemes(headers: Iterable[tuple[bytes, str]]) -> list[str]:
    return [one.lower() if one.lower() in _SCHEMES else "" for one in _listed(headers, b"x-forwarded-proto")]


def _listed(headers: Iterable[tuple[bytes, str]], wanted: bytes) -> list[str]:
    """The members of a header that may come several times."""
    return [part.strip() for name, value in headers if name == wanted for part in value.split(",") if part.strip()]


def _address(text: str) -> Address | None:
    """An address, with or without a port; IPv4 within IPv6 as what it is."""
    if text.startswith("["):
        inside, closed, port = text[1:].partition("]")
        text = inside if closed and re.fullmatch(r"(?::\d{1,5})?", port) else ""
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        text = text if re.fullmatch(r"\d{1,5}", port) else ""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return found if mapped is None else mapped


class Shares:
    """How many requests of one client are under way through trusted proxies.

    The connections are the proxy's, which may take them all; what bounds an address has to count here.
    """

    def __init__(self, most: int = MOST_UNDER_WAY, refused: Callable[[str], None] = _not_counted) -> None:
        """`refused` is told the address of each one that was refused."""
        self._most = most
        self._refused = refused
        self._under_way: Counter[str] = Counter()

    @contextlib.contextmanager
    def of(self, client: str) -> Iterator[None]:
        """One more while the block lasts. Raises RateLimited."""
        share = accepting.share_of(client)
        if self._under_way[share] >= self._most:
            self._refused(share)
            raise errors.RateLimited(
                f"{self._most} requests of this address are under way, as many as one address may have.",
                hint="Wait for their answers, or close streams.",
                details={
                    "limit": "http_connections_per_address",
                    "most": self._most,
                    "retry_after_seconds": RETRY_SECONDS,
                },
            )
        self._under_way[share] += 1
        try:
            yield
        finally:
            self._under_way[share] -= 1
            if not self._under_way[share]:
                del self._under_way[share]
