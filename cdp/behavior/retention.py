"""Retention: expiry instants, horizons, and the months of events."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Final

from cdp.kit.errors import Fault

_CLASS_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,52}")
_LOOKS_LIKE_MONTH: Final = re.compile(r".*_\d{4}_\d{2}")
_NAME_LENGTH_MAX: Final = 63
_MONTH_LENGTH: Final = len("_2026_01")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    month: int

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def next(self) -> "Month":
        """The month after it."""
        return Month(self.year + 1, 1) if self.month == 12 else Month(self.year, self.month + 1)

    @property
    def end(self) -> datetime:
        """The first instant after it."""
        return self.next.start


def month_of(instant: datetime) -> Month:
    """The month of an instant."""
    utc = instant.astimezone(UTC)
    return Month(utc.year, utc.month)


def expires_at(occurred_at: datetime, keep_for_days: int) -> datetime:
    """The instant from which an event is expired and no longer read."""
    return occurred_at + timedelta(days=keep_for_days)


def horizon(now: datetime, keep_for_days: int) -> datetime:
    """What occurred at or before this instant has expired."""
    return now - timedelta(days=keep_for_days)


def is_expired(occurred_at: datetime, keep_for_days: int, now: datetime) -> bool:
    """True when an event of a class with this keep_for_days is no longer read, and a new one would be refused."""
    return expires_at(occurred_at, keep_for_days) <= now


def first_counted_day(now: datetime, window_days: int) -> date:
    """The first UTC day that a computed trait with this window counts: the window is a number of whole days, today included."""
    return now.astimezone(UTC).date() - timedelta(days=window_days - 1)


def is_month_over(month: Month, keep_for_days: int, now: datetime) -> bool:
    """True when every event that can be in the month has expired, so that its partition may be dropped."""
    return month.end <= horizon(now, keep_for_days)


def class_partition(retention_class: str) -> str:
    """The table, within schema `behavior`, that holds the months of a class.

    Raises the fault `invalid_retention_class` for a key that cannot name a table or looks like that of a month.
    """
    if not _CLASS_KEY.fullmatch(retention_class) or _LOOKS_LIKE_MONTH.fullmatch(retention_class):
        raise Fault(
            "invalid_retention_class",
            "The key of a retention class is invalid",
            "Use lower-case letters, digits and underscores, begin with a letter, stay within 53 characters, "
            "and do not end with a month (_2026_01).",
        )
    name = f"event_{retention_class}"
    if len(name) + _MONTH_LENGTH <= _NAME_LENGTH_MAX:
        return name
    digest = sha256(retention_class.encode()).hexdigest()[:8]
    return f"{name[: _NAME_LENGTH_MAX - _MONTH_LENGTH - 9]}_{digest}"


def month_partition(retention_class: str, month: Month) -> str:
    """The table, within schema `behavior`, that holds one month of a class."""
    return f"{class_partition(retention_class)}_{month.year:04d}_{month.month:02d}"


def months_needed(events: Iterable[tuple[str, datetime]]) -> set[tuple[str, Month]]:
    """The (retention class, month) pairs of events, given as (retention class, occurred_at)."""
    found = set()
    for retention_class, occurred_at in events:
        utc = occurred_at if occurred_at.tzinfo is UTC else occurred_at.astimezone(UTC)
        found.add((retention_class, utc.year, utc.month))
    return {(retention_class, Month(year, month)) for retention_class, year, month in found}
