"""The only source of the current instant: everyone else receives `now` as an argument.

A service goes by the clock of its database, so that several services agree and none of their clocks matters.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Returns the current instant, always timezone-aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SteadyClock:
    """A clock that starts with the machine's and never steps after that, whatever happens to the machine's."""

    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_seconds: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        return self.started_at + timedelta(seconds=time.monotonic() - self.started_seconds)


class DatabaseClock:
    """The clock of the database, carried on by a local clock from its last reading.

    It is exact to the time that a reading takes. Where order is decisive, the database gives the instant itself, under
    the exclusive lock (`cdp.identity.store.generation`).
    """

    def __init__(self, local: Clock) -> None:
        self._local = local
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return self._local.now() + self._ahead

    def set(self, reading: datetime) -> None:
        """Set the clock to what the database's clock just showed."""
        self._ahead = reading - self._local.now()


@dataclass(slots=True)
class TestClock:
    """A clock that shows a fixed instant until it is set; for tests and demonstrations only."""

    __test__ = False
    instant: datetime

    def now(self) -> datetime:
        return self.instant


def fixed_instant(clock: Clock | None) -> datetime | None:
    """The instant of a test clock, which replaces the database's; None where the database's clock counts."""
    return clock.now() if isinstance(clock, TestClock) else None


def set_clock(clock: Clock | None, reading: datetime) -> None:
    """Set a clock that goes by the database to what the database's clock just showed; leave any other as it is."""
    if isinstance(clock, DatabaseClock):
        clock.set(reading)


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; a missing offset means UTC.

    Raises ValueError when the text is not an instant.
    """
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
