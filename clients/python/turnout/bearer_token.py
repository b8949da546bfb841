"""The bearer token: a header of every call, and never in clear text beyond this machine."""

from __future__ import annotations

import ipaddress

Metadata = tuple[tuple[str, str], ...]


def token_metadata(token: str | None, *, target: str, encrypted: bool) -> Metadata | None:
    """The header that carries the token; None where there is no token.

    Args:
        token: as the service's proxy or gateway expects it; printable ASCII.
        target: where calls go.
        encrypted: whether the channel has credentials, or is the caller's own.

    Raises:
        ValueError: the token would cross a network in clear text, or is no header value. It is not shown.
    """
    if token is None:
        return None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("token: printable ASCII without spaces is needed")
    if not encrypted and not stays_on_machine(target):
        raise ValueError(f"token: {target} is not on this machine, so tls or credentials are needed")
    return (("authorization", f"Bearer {token}"),)


def stays_on_machine(target: str) -> bool:
    """True if a gRPC target is a Unix socket or one loopback address; False in doubt."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = target.rpartition("/")[2]
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        host = host.removeprefix(scheme)
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
