"""What can be reached from this machine alone."""

from __future__ import annotations

import ipaddress

HOSTS = ("127.0.0.1", "localhost", "[::1]")  # as clients write them in a Host header


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can reach the host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
