"""Who sent a request: the other end of the connection, or whom a proxy that is trusted names as its own."""

import ipaddress

from starlette.requests import Request

_HOUSEHOLD = 64  # bits of an IPv6 address that name a household or a server; all below them is its own to choose


def peer_of(request: Request) -> str:
    """The sender's address as it is counted: of an IPv6 address its network. '' where nothing is known."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a unix socket, or a name
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _HOUSEHOLD), strict=False))
