"""The host names under which clients may reach this service: only these are repeated in an answer.

A client chooses the `Host` header freely. An answer that repeats it could send the messages of others elsewhere, if a cache
between them kept it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_HOST: Final = re.compile(r"(?P<name>[a-z0-9.\-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_OF_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What only a client on the same machine reaches; its port is that of a forwarding, of a container for example.
A proxy calls the service by such a name, too: nginx does unless it is configured to keep the `Host` of the client."""


def host_of(scope: Mapping[str, Any]) -> str | None:
    """The `Host` header of a request in small letters, None where it has none, several or an invalid one."""
    named = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    return named[0] if len(named) == 1 and _HOST.fullmatch(named[0]) is not None else None


class TrustedHosts:
    """The names that were configured, each as `host` or `host:port`, and those of this machine with any port unless clients come through a proxy."""

    def __init__(self, names: Iterable[str] = (), *, behind_proxy: bool = False) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._own = frozenset[str]() if behind_proxy else _OF_THIS_MACHINE

    def named(self, scope: Mapping[str, Any]) -> str | None:
        """The host by which a client reached the service; None where it is not trusted."""
        host = host_of(scope)
        return host if host is not None and host in self else None

    def __contains__(self, host: str) -> bool:
        named = _HOST.fullmatch(host)
        return named is not None and (host in self._names or named["name"] in self._own)
