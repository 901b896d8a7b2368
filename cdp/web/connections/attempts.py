"""Wrong write keys and tokens by the address of the client: at most so many, then so many a second.

A right key or token is served whatever else comes from its address; only the answer to a wrong one becomes 429.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from cdp.kit.errors import Fault

_CLIENTS_MAX: Final = 10_000


class WrongSecrets:
    """A token bucket for each client that sent a wrong secret lately; the clients of longest ago are forgotten."""

    def __init__(self, *, burst: int = 30, per_second: float = 1.0, clock: Callable[[], float] = monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.refused = 0
        """Wrong secrets that were answered with 429, since the start."""

    def is_exhausted(self, client: str) -> bool:
        """Whether the next wrong secret of this client is answered with 429."""
        return self._left(client) < 1.0

    def note(self, client: str) -> None:
        """Count a wrong secret. Raises the fault `too_many_wrong_secrets` when there were too many."""
        left = self._left(client)
        self._clients[client] = (max(0.0, left - 1.0), self._clock())
        self._clients.move_to_end(client)
        if len(self._clients) > _CLIENTS_MAX:
            self._clients.popitem(last=False)
        if left < 1.0:
            self.refused += 1
            raise Fault(
                "too_many_wrong_secrets",
                "Too many wrong keys or tokens came from this address",
                "Correct the write key or the token. Requests with a right one are served.",
                status=429,
                retry_after_seconds=max(1, math.ceil(self._burst / self._per_second / 10)),
            )

    def _left(self, client: str) -> float:
        left, at = self._clients.get(client, (float(self._burst), 0.0))
        return min(float(self._burst), left + (self._clock() - at) * self._per_second)
