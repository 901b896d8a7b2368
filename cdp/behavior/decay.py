"""Forward decay: weights that decrease without being rewritten.

After Cormode, Shkapenyuk, Srivastava and Xu, "Forward Decay: A Practical Time Decay Model for Streaming Systems"
(ICDE 2009): an event at t weighs 2^((t - L) / h) against a fixed landmark L, and the sum of such weights is divided by
2^((now - L) / h) when it is read. Instants are aware datetimes, half-lives days, weights plain doubles.
"""

from datetime import datetime, timedelta
from math import ldexp
from typing import Final

_DAY: Final = timedelta(days=1)

EXPONENT_MAX: Final = 500.0
"""A landmark moves before a weight exceeds 2^500, so that 2^53 events of 2^53 each still fit a double."""
NOTHING_BELOW: Final = -1000.0
"""Below 2^-1000 a weight counts as 0."""
POWER_MAX: Final = 1000.0
"""The largest exponent; only a clock set back by a thousand half-lives would exceed it."""


def half_lives(since: datetime, until: datetime, half_life_days: float) -> float:
    """How many half-lives lie between two instants; negative when `until` comes first."""
    return (until - since) / _DAY / half_life_days


def power_of_two(exponent: float) -> float:
    """2^exponent, exactly 0 below 2^-1000, and never more than 2^1000."""
    if exponent < NOTHING_BELOW:
        return 0.0
    bounded = min(exponent, POWER_MAX)
    whole = int(bounded // 1)
    return ldexp(2.0 ** (bounded - whole), whole)


def weight(occurred_at: datetime, now: datetime, half_life_days: float) -> float:
    """The weight of an event now: 1 when it happens, 1/2 one half-life later."""
    return power_of_two(-half_lives(occurred_at, now, half_life_days))


def forward_weight(occurred_at: datetime, landmark_at: datetime, half_life_days: float) -> float:
    """The weight of an event relative to its landmark, which never changes."""
    return power_of_two(half_lives(landmark_at, occurred_at, half_life_days))


def value_at(total: float, landmark_at: datetime, now: datetime, *, half_life_days: float) -> float:
    """The decayed value now of a sum of forward weights."""
    return total * power_of_two(-half_lives(landmark_at, now, half_life_days))


def rescaled(total: float, old_landmark_at: datetime, new_landmark_at: datetime, *, half_life_days: float) -> float:
    """The same sum relative to another landmark."""
    return total * power_of_two(-half_lives(old_landmark_at, new_landmark_at, half_life_days))


def is_outgrown(landmark_at: datetime, now: datetime, half_life_days: float) -> bool:
    """True when current events need a new landmark: the old one is too far away, in either direction."""
    return abs(half_lives(landmark_at, now, half_life_days)) > EXPONENT_MAX


def landmark_for(now: datetime) -> datetime:
    """The first landmark: the start of the day."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
