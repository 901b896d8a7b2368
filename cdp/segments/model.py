"""Values of segments: definitions, versions, members, and results of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import NewType

SegmentKey = NewType("SegmentKey", str)


@dataclass(frozen=True, slots=True)
class Draft:
    """A definition as submitted, without its condition."""

    key: SegmentKey
    name: str
    purpose: str
    author: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A definition in force."""

    key: SegmentKey
    name: str
    purpose: str
    owner: str
    text: str
    where: str
    version: int
    created_at: datetime
    changed_at: datetime
    refreshed_at: datetime | None


@dataclass(frozen=True, slots=True)
class SegmentVersion:
    """One immutable definition."""

    key: SegmentKey
    version: int
    purpose: str
    where: str
    policy_fingerprint: str
    author: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One condition of the funnel: the number of people who satisfy it alone, and together with those before it."""

    text: str
    alone: int
    together: int


@dataclass(frozen=True, slots=True)
class Preview:
    """How many people meet a condition that is not stored, of how many permitted ones; others are refused, by reason.

    Exact, because anyone who may list people can count them.
    """

    size: int
    permitted: int
    conditions: tuple[FunnelStep, ...]
    refused_by_reason: Mapping[str, int]

    @property
    def share(self) -> float | None:
        """The share of the permitted people; None if nobody is permitted."""
        return round(self.size / self.permitted, 4) if self.permitted else None


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a segment, by reader pseudonym, and the day (UTC) on which the membership began.

    Not the instant: one event lets a person into segments of several purposes at the same moment, which would join them.
    """

    reader_pseudonym: str
    since: date


@dataclass(frozen=True, slots=True)
class MemberPage:
    """Some members in order of pseudonym; `after` continues, None at the end."""

    members: tuple[Member, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """The numbers of profiles that entered and exited in an evaluation."""

    key: SegmentKey
    entered: int
    exited: int
