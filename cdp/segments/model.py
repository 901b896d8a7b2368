"""Values of the segments room: keys, refusals of a text, definitions, and what is shown of a segment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

SegmentKey = NewType("SegmentKey", str)


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wants a segment to be; the condition travels beside it."""

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
class Size:
    """A number of people as it may be shown: None and "fewer than n" under the minimum."""

    shown: int | None
    text: str


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One condition of the funnel: how many satisfy it alone, and together with those before it."""

    text: str
    alone: Size
    together: Size


@dataclass(frozen=True, slots=True)
class Preview:
    """What a segment would be: never a person, never an exact number."""

    size: Size
    permitted: Size
    share: float | None
    conditions: tuple[FunnelStep, ...]
    refused_by_reason: Mapping[str, Size]


@dataclass(frozen=True, slots=True)
class Member:
    """Someone in a segment, by the pseudonym of the reading role."""

    reader_pseudonym: str
    since: datetime


@dataclass(frozen=True, slots=True)
class MemberPage:
    """Some members in order of pseudonym; `after` continues, None at the end.

    `withheld` says why nobody is listed, when nobody may be.
    """

    members: tuple[Member, ...]
    after: str | None
    withheld: str | None


@dataclass(frozen=True, slots=True)
class Refresh:
    """How many profiles an evaluation let in and out."""

    key: SegmentKey
    entered: int
    exited: int
