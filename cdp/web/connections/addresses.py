"""The address that counts as one client: an IPv4 address, or the /64 network of an IPv6 one. Never stored, never logged."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

UNKNOWN: Final = "unknown"
_NETWORK_BYTES: Final = 8


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
