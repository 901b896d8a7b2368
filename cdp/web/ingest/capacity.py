"""Bytes and messages of requests that are being read or wait to be stored, shared so that no client or source takes all.

Capacity for bytes is taken as they arrive: a request that only announces bytes takes none.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

_SHARE: Final = 3
"""A holder may have at most so many times what is free: alone three quarters of all, less when others hold some
(Choudhury and Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998)."""


@dataclass(slots=True)
class Capacity:
    """So many bytes or messages, and who holds how many of them. Use from one event loop."""

    size_max: int
    used: int = 0
    _held: Counter[Hashable] = field(default_factory=Counter)

    def fits(self, weight: int, holders: Sequence[Hashable]) -> bool:
        """Whether so much more may be held; always, when nothing is."""
        free = self.size_max - self.used
        return not self.used or (weight <= free and all(self._held[holder] <= _SHARE * free for holder in holders))

    def reserve(self, weight: int, holders: Sequence[Hashable]) -> bool:
        """Hold so much more; False, and nothing is held, where it does not fit."""
        if not self.fits(weight, holders):
            return False
        self.used += weight
        for holder in holders:
            self._held[holder] += weight
        return True

    def release(self, weight: int, holders: Sequence[Hashable]) -> None:
        """Hold so much no longer."""
        self.used -= weight
        for holder in holders:
            self._held[holder] -= weight
            if not self._held[holder]:
                del self._held[holder]


@dataclass(slots=True)
class Share:
    """What one request holds."""

    capacity: Capacity
    holders: tuple[Hashable, ...]
    held: int = 0

    def fits(self, weight: int) -> bool:
        """Whether the request may hold so many bytes."""
        return self.capacity.fits(weight, self.holders)

    def grow(self, size: int) -> bool:
        """Hold `size` bytes in all; False where more does not fit."""
        if size > self.held:
            if not self.capacity.reserve(size - self.held, self.holders):
                return False
            self.held = size
        return True

    def release(self) -> None:
        """Hold nothing any more."""
        self.capacity.release(self.held, self.holders)
        self.held = 0
