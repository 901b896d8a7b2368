"""The address that counts as one client: an IPv4 address, or the /64 network of an IPv6 one. Never stored, never logged."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

from cdp.kit.config import Network

UNKNOWN: Final = "unknown"
_NETWORK_BYTES: Final = 8
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def client_of(scope: Mapping[str, Any]) -> str:
    """The client of a request; behind trusted proxies, the one that they name."""
    client = scope.get("client")
    return UNKNOWN if client is None else one_client(client[0])


@lru_cache(maxsize=4096)
def one_client(address: str) -> str:
    """Addresses that one client can choose freely are one: the /64 network of IPv6."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:_NETWORK_BYTES].hex()


def with_mapped(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The networks, and those of IPv4 once more as a socket that listens on both versions shows their addresses (RFC 4291, 2.5.5.2)."""
    found: list[Network] = []
    for network in networks:
        found.append(network)
        if isinstance(network, IPv4Network):
            first = int(_MAPPED.network_address) + int(network.network_address)
            found.append(IPv6Network((first, _MAPPED.prefixlen + network.prefixlen)))
    return tuple(found)
