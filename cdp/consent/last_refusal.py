"""What a refusal that no grant follows means for a verdict, without the other records. Pure.

Thousands of profiles can have been seen with one shared identifier. Where none of them granted anything after its refusal, the
verdict before it tells the one after it; `decide` gives the same, as a test shows for random records.
"""

from datetime import datetime
from typing import Final, NamedTuple

from cdp.consent.decide import reason_of
from cdp.consent.model import WITHOUT_CLEARING, Reason, Record
from cdp.consent.opt_in import GPC
from cdp.policy.model import Purpose

_BY_STRENGTH: Final = (Reason.REFUSED, Reason.WITHDRAWN, Reason.OPTED_OUT, Reason.OBJECTED)


class LastRefusal(NamedTuple):
    """The verdict after a refusal: `reason`, except where the one before it was refused for one of the other reasons.

    Those in `kept` stay. Those in `undecided` are other refusals, of which the records tell whether the new one replaced them.
    """

    reason: Reason
    kept: frozenset[Reason]
    undecided: frozenset[Reason]


def last_refusal(refusal: Record, rule: Purpose, *, now: datetime) -> LastRefusal:
    """What a refusal means for every verdict about its purpose `rule` that no later grant concerns.

    One of an earlier instant may itself have been replaced by a later refusal.
    """
    reason = reason_of([refusal], rule)
    is_latest = refusal.last_at >= now
    others = _BY_STRENGTH[_BY_STRENGTH.index(reason) + 1 :] if is_latest else _BY_STRENGTH
    return LastRefusal(reason, WITHOUT_CLEARING | {reason}, frozenset(others) - {reason})


def can_be_overridden_before(refusal: Record, rule: Purpose) -> bool:
    """Whether an opt-in in two steps from before this refusal may stand against it: by policy, against browsers' signals."""
    return rule.opt_in_overrides_gpc and refusal.signal == GPC
