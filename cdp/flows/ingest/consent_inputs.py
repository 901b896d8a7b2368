"""What the decisions of a batch need to know about consent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cdp.behavior.ages import Ages
from cdp.consent.model import Record, Verdict

Verdicts = Mapping[str, Verdict]
"""By purpose."""


class ReplayedAnchor(NamedTuple):
    """An anchor that is replayed: its members, and the jurisdictions of its sources."""

    members: frozenset[int]
    jurisdictions: frozenset[str]


@dataclass(frozen=True, slots=True)
class ConsentInputs:
    """What the store holds about the profiles of a batch; `seen` to `stored` are keyed by the origin of their groups.

    `records` are those of every identifier of the groups that could change. `seen` are the identifiers of a profile's
    anchors that no profile owns alone. `in_force` are the verdicts of profiles whose groups were not loaded, `stored` those of
    profiles whose were, as the batch found them. `replayed`
    are the anchors that are resolved again when an identifier turns out to be shared; which identifiers were seen
    together then follows from them. `bits` is the mask of each purpose.
    """

    records: list[Record]
    seen: Mapping[int, frozenset[int]]
    jurisdictions: Mapping[int, frozenset[str]]
    ages: Mapping[int, Ages]
    quarantined: frozenset[int]
    in_force: Mapping[int, Verdicts]
    stored: Mapping[int, Verdicts]
    bits: Mapping[str, int]
    replayed: dict[int, ReplayedAnchor] = field(default_factory=dict)
