"""The only source of the current instant: everyone else receives `now` as an argument."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Returns the current instant, always timezone-aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(slots=True)
class TestClock:
    """A clock that shows a fixed instant until it is set; for tests and demonstrations only."""

    __test__ = False
    instant: datetime

    def now(self) -> datetime:
        return self.instant


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; a missing offset means UTC.

    Raises ValueError when the text is not an instant.
    """
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
