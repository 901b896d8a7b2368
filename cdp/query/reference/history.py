"""What the interpreter knows of a profile: permissions, traits and events, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

Scalar = Fraction | float | bool | str | datetime
"""A value that is compared: exact numbers are fractions, floats are decayed values only."""

StatedValue = int | float | bool | str | datetime
"""A value as it was sent."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event of a profile with the purposes whose bits it carries; `lists` has the fields of the entries of its lists."""

    name: str
    occurred_at: datetime
    purposes: frozenset[str]
    properties: Mapping[str, StatedValue] = field(default_factory=dict)
    event_id: str = ""
    lists: Mapping[str, tuple[Mapping[str, StatedValue], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PermittedSpan:
    """From when and until when a purpose is permitted; None means without bound."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether the purpose is permitted at an instant."""
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class Profile:
    """All that a segment may read of a profile; `traits` are those visible to each purpose, `salt` determines samples."""

    profile_id: int
    permitted: Mapping[str, PermittedSpan] = field(default_factory=dict)
    traits: Mapping[str, Mapping[str, StatedValue]] = field(default_factory=dict)
    events: tuple[EventRecord, ...] = ()
    salt: bytes = b""


def exact(value: StatedValue | None) -> Scalar | None:
    """A sent value for comparison; a number becomes its shortest decimal, exactly."""
    if isinstance(value, bool) or value is None or isinstance(value, str | datetime):
        return value
    return Fraction(Decimal(repr(value)))
