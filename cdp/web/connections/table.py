"""All connections of this process by the address of their client: who may connect, who is closed for another, who is too slow."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Protocol

from cdp.kit.config import Network
from cdp.web.connections.addresses import UNKNOWN, one_client
from cdp.web.connections.limits import ConnectionLimits, Refusal


class Connection(Protocol):
    """What the table asks of a connection."""

    @property
    def peer(self) -> str | None: ...

    def patience(self, now: float) -> int | None:
        """How soon it is closed for another: 0 is first, None is never, because its request is being handled."""

    def evict(self) -> None: ...

    def check(self, now: float) -> None:
        """Close it when it is too slow."""


class ConnectionTable:
    """Connections, the longest unused first. Use from one event loop.

    When an address has its share, or all connections are taken, the newcomer replaces a connection that waits: of the
    same address, or of the address with most connections. A connection whose request is being handled is never closed.
    """

    def __init__(self, limits: ConnectionLimits, *, proxies: Sequence[Network] = ()) -> None:
        self.limits = limits
        self.refused: Counter[Refusal] = Counter()
        self._proxies = proxies
        self._by_client: dict[str, dict[Connection, None]] = {}
        self._client_of: dict[Connection, str] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._client_of)

    def admit(self, connection: Connection) -> bool:
        """Admit a new connection, which may close one that waits; False when none can be closed for it.

        Refused ones are swept as well, until they are closed.
        """
        client, is_proxy = self._whose(connection.peer)
        self._open.add(connection)
        self._start_sweeping()
        own = self._by_client.get(client, {})
        if not is_proxy and len(own) >= self.limits.connections_per_address_max and not self._evict_one(own):
            return False
        if len(self) >= self.limits.connections_max:
            largest = max(self._by_client.values(), key=len)
            if len(largest) <= len(own) or not self._evict_one(largest):
                return self._evict_one(own) and self._add(connection, client)
        return self._add(connection, client)

    def used(self, connection: Connection) -> None:
        """Its answer has left: it is now the last of its address to be closed for another."""
        client = self._client_of.get(connection)
        if client is not None:
            own = self._by_client[client]
            own[connection] = own.pop(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self._delete(connection)

    def _whose(self, peer: str | None) -> tuple[str, bool]:
        client = UNKNOWN if peer is None else one_client(peer)
        if client == UNKNOWN or not self._proxies:
            return client, False
        address = ip_address(str(peer).partition("%")[0])
        return client, any(address in network for network in self._proxies)

    def _add(self, connection: Connection, client: str) -> bool:
        self._by_client.setdefault(client, {})[connection] = None
        self._client_of[connection] = client
        return True

    def _delete(self, connection: Connection) -> None:
        client = self._client_of.pop(connection, None)
        if client is not None:
            own = self._by_client[client]
            del own[connection]
            if not own:
                del self._by_client[client]

    def _evict_one(self, among: Iterable[Connection]) -> bool:
        now = asyncio.get_running_loop().time()
        chosen: Connection | None = None
        least: int | None = None
        for connection in among:
            patience = connection.patience(now)
            if patience is not None and (least is None or patience < least):
                chosen, least = connection, patience
                if patience == 0:
                    break
        if chosen is None:
            return False
        self._delete(chosen)
        chosen.evict()
        return True

    def _start_sweeping(self) -> None:
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(self.limits.sweep_seconds, self._check_all)

    def _check_all(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for connection in tuple(self._open):
            connection.check(now)
        if self._open:
            self._start_sweeping()
