"""Who may talk to the page's server: an address with its secret, from the page that it gave out, and nobody else."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit

GOING_AWAY, POLICY_VIOLATION, TRY_AGAIN = 1001, 1008, 1013
"""Codes that sockets are closed with (RFC 6455, section 7.4.1, and its registry)."""
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Of every answer."""


def new_secret() -> str:
    """Return 256 random bits as text for an address."""
    return secrets.token_urlsafe(32)


def is_same(given: str | None, secret: str) -> bool:
    """Whether a secret is the one, in a time that does not tell how much of it is right."""
    return given is not None and hmac.compare_digest(given.encode(), secret.encode())


def is_local(host: str) -> bool:
    """Whether an address to listen at is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, port: int) -> frozenset[str]:
    """Return the values of `Host` that requests may have: another name that leads here is somebody else's page.

    Args:
        host: that is listened at.
        port: that is listened at.
    """
    names = LOCAL if is_local(host) else (host if ":" not in host else f"[{host.strip('[]')}]",)
    return frozenset(f"{name}:{port}" for name in names) | (frozenset(names) if port == 80 else frozenset())


def allows_origin(origin: str | None, host: str | None) -> bool:
    """Whether a socket is opened by the page that this server gave out: its `Origin` is the `Host` asked for."""
    if origin is None or host is None:
        return False
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc == host and not parts.path
