"""Where jobs, callbacks and portals may connect to: the deny table, and URLs that every parser reads alike."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

import httpx

from core.errors import Forbidden, shorten

MOST_URL_CHARACTERS = 8192

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Written out, because the flags of the ipaddress module (is_private, is_global) miss several of these.
DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, also cloud metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # platform services of a cloud
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local NAT64
        "100::/64",  # discard
        "2001::/23",  # Teredo, ORCHID, benchmarks and other protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)

_USERINFO = re.compile(r"//[^/?#]*@")
_HOST = re.compile(r"[A-Za-z0-9._~%:\-]+")


def allowed_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of the setting `egress_allow`: addresses or CIDR blocks.

    Raises ValueError for a text that is neither.
    """
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def denied(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Whether a job may not connect to this address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return denied(address.ipv4_mapped, allow)
        if address.scope_id is not None:
            address = ipaddress.IPv6Address(int(address))
    if any(address.version == network.version and address in network for network in allow):
        return False
    return any(address.version == network.version and address in network for network in DENIED)


def check_url(url: str) -> httpx.URL:
    """The parsed address of a request.

    Raises Forbidden for everything that two parsers might read in two ways, and for schemes other than http and https.
    """
    shown = shorten(_USERINFO.sub("//***@", url))
    hint = "write it as http://host:port/path or https://host/path"
    if len(url) > MOST_URL_CHARACTERS or not url.isprintable() or "\\" in url or " " in url:
        raise Forbidden(f"the address {shown} is too long or has a backslash, space or control character", hint=hint)
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise Forbidden(f"the address {shown} is not valid: {error}", hint=hint) from error
    if parsed.scheme not in ("http", "https") or not re.match(r"https?://[^/]", url, re.IGNORECASE):
        raise Forbidden(f"the address {shown} is neither http:// nor https://", hint=hint)
    authority = url.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    if "@" in authority or parsed.userinfo:
        raise Forbidden(f"the address {shown} has a user name in it", hint="give credentials with the auth key")
    if not host or not _HOST.fullmatch(parsed.raw_host.decode("ascii").strip("[]")):
        raise Forbidden(f"the address {shown} has no usable host", hint=hint)
    if port is not None and not 0 < port < 65536:
        raise Forbidden(f"the address {shown} has no usable port", hint=hint)
    return parsed


def check_target(url: str, allow: Iterable[str]) -> httpx.URL:
    """Like `check_url`, and raises Forbidden also when the host is plainly one that may not be reached.

    A name is only judged when it is dialled, by what it leads to then.
    """
    parsed = check_url(url)
    check_host(parsed.host, allow)
    return parsed


def address_of(host: str) -> Address | None:
    """The address that a host is, however it is written; None for a name that has to be looked up."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host.replace("%25", "%"))
    except ValueError:
        with contextlib.suppress(OSError, UnicodeError):
            return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f.1, 2130706433: resolvers read these
    return None


def check_host(host: str, allow: Iterable[str]) -> None:
    """Raises Forbidden when a host is plainly one that may not be reached; a name is judged when it is dialled."""
    address = address_of(host)
    if address is not None and denied(address, allowed_networks(allow)):
        raise Forbidden(
            f"{shorten(host.strip('[]').rstrip('.').lower())} is an address that may not be reached",
            hint="private, local and reserved addresses are closed; the setting egress_allow opens some of them",
        )
