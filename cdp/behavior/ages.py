"""Stated ages: which of several statements about a person's age counts. Pure.

An age is kept as the latest day on which the person can have been born, so that it grows with time. A server vouches
for an age; a browser or device can only lower it, because anyone can use its key.
"""

from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from cdp.behavior.model import EventId, Plain

AGE: Final = "age"
"""The stated trait with a person's age in whole years."""

BIRTHDAY: Final = "birthday"
"""The stated trait with the date of birth, of which only the month is used."""

_YEARS_MAX: Final = 150


class AgeAuthority(StrEnum):
    """Who stated an age."""

    RECTIFIED = "rectified"
    AUTHENTICATED = "authenticated"
    IMPORTED = "imported"
    DEVICE = "device"

    @property
    def rank(self) -> int:
        """From 3 for a rectified age to 0 for one that a device stated."""
        return _RANKS[self]


_RANKS: Final = {
    AgeAuthority.RECTIFIED: 3,
    AgeAuthority.AUTHENTICATED: 2,
    AgeAuthority.IMPORTED: 1,
    AgeAuthority.DEVICE: 0,
}


class StatedAge(NamedTuple):
    """One statement: the latest day of birth that agrees with it, by whom it was made, and when."""

    authority: AgeAuthority
    is_birthday: bool
    counts_from: date
    occurred_at: datetime
    received_at: datetime
    event_id: EventId

    @property
    def order(self) -> tuple[object, ...]:
        """Of several statements of one authority, the one with the highest order counts.

        Of a device that is the youngest age. Otherwise a date of birth precedes an age, and a later statement an earlier one.
        """
        at = (self.occurred_at, self.received_at, self.event_id)
        return (self.counts_from, *at) if self.authority is AgeAuthority.DEVICE else (self.is_birthday, *at)


class Ages(NamedTuple):
    """The statements about a person's age that count: the one that is vouched for, and the youngest that a device made."""

    vouched: StatedAge | None = None
    claimed: StatedAge | None = None

    def joined(self, other: "Ages") -> "Ages":
        """The statements that count of both; the order in which statements are joined does not matter."""
        return ages_in(statement for statement in (*self, *other) if statement is not None)

    def vouched_years(self, now: datetime) -> int | None:
        """The age that is vouched for, lowered by what a device stated; None if nobody vouches for one.

        A rectified age is not lowered.
        """
        if self.vouched is None:
            return None
        years = years_at(self.vouched.counts_from, now)
        if self.claimed is None or self.vouched.authority is AgeAuthority.RECTIFIED:
            return years
        return min(years, years_at(self.claimed.counts_from, now))

    def claimed_years(self, now: datetime) -> int | None:
        """The age that a device stated, where nobody vouches for one: it can refuse, and never permit."""
        return years_at(self.claimed.counts_from, now) if self.vouched is None and self.claimed is not None else None


UNKNOWN_AGE: Final = Ages()


def ages_in(statements: Iterable[StatedAge]) -> Ages:
    """The statements that count among these."""
    vouched = claimed = None
    for statement in statements:
        if statement.authority is AgeAuthority.DEVICE:
            if claimed is None or statement.order > claimed.order:
                claimed = statement
        elif vouched is None or _rank(statement) > _rank(vouched):
            vouched = statement
    return Ages(vouched, claimed)


def stated_age(
    plain: Plain | None,
    birthday: Any,
    *,
    authority: AgeAuthority,
    occurred_at: datetime,
    received_at: datetime,
    event_id: EventId,
) -> StatedAge | None:
    """The statement of a message: its date of birth if that can be read, else its age in years; None if it has neither."""
    counts_from = _last_of_month(birthday)
    is_birthday = counts_from is not None
    if counts_from is None and isinstance(plain, int | float):
        years = int(max(-1, min(_YEARS_MAX, plain)))
        counts_from = _years_before(occurred_at.date(), years)
    if counts_from is None:
        return None
    return StatedAge(authority, is_birthday, counts_from, occurred_at, received_at, event_id)


def years_at(counts_from: date, now: datetime) -> int:
    """The age in whole years."""
    today = now.date()
    return today.year - counts_from.year - ((today.month, today.day) < (counts_from.month, counts_from.day))


def _last_of_month(birthday: Any) -> date | None:
    """The last day of the month of a date of birth such as `2010-05-17`: the day itself is not kept."""
    if not isinstance(birthday, str):
        return None
    try:
        day = date.fromisoformat(birthday[:10])
    except ValueError:
        return None
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1) if day.year < date.max.year else date.max
    return date.fromordinal(following.toordinal() - 1)


def _years_before(day: date, years: int) -> date:
    year = max(1, day.year - years)
    try:
        return day.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


def _rank(statement: StatedAge) -> tuple[object, ...]:
    return (statement.authority.rank, *statement.order)
