"""The reference evaluator: one profile at a time, in plain Python, sharing nothing with the engines but the language.

Its result is the meaning of the language; random programs over random histories compare every engine with it. It is
written to be obviously right, not fast.

- Only events and traits permitted for the purpose are read: an event carries the bit of the purpose, did not occur
  before the present permission began, nor after now, and its retention has not ended.
- A test of an absent value is unknown; `and`, `or`, `not` follow Kleene; only profiles with the result true are in.
- Numbers are exact fractions; decayed values are doubles, 2^(−age / half-life), and 0 beyond 1,000 half-lives.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.evaluation import sample_threshold
from cdp.query.language.kleene import Kleene
from cdp.query.reference.events import VisibleEvents
from cdp.query.reference.history import EventRecord, Profile
from cdp.query.reference.logic import Leaf, truth_of, truth_of_test
from cdp.query.reference.values import is_observed, value_of


def members(
    condition: ast.Condition, profiles: Iterable[Profile], *, purpose: str, catalogue: Catalogue, now: datetime
) -> frozenset[int]:
    """The ids of the permitted profiles for which the condition is true."""
    return frozenset(
        profile.profile_id
        for profile in profiles
        if is_in(condition, profile, purpose=purpose, catalogue=catalogue, now=now)
    )


def is_in(condition: ast.Condition, profile: Profile, *, purpose: str, catalogue: Catalogue, now: datetime) -> bool:
    """Whether a profile is permitted and the condition is true for it."""
    permitted = profile.permitted.get(purpose)
    if permitted is None or not permitted.holds(now):
        return False
    return truth(condition, profile, purpose=purpose, catalogue=catalogue, now=now) is True


def truth(condition: ast.Condition, profile: Profile, *, purpose: str, catalogue: Catalogue, now: datetime) -> Kleene:
    """The truth of a condition for a permitted profile. Raises NotEvaluable for a node that the checks refuse."""
    events = VisibleEvents(profile, purpose, catalogue, now=now)
    return truth_of(condition, lambda node: _truth_of_leaf(node, events))


def _truth_of_leaf(node: Leaf, events: VisibleEvents) -> Kleene:
    match node:
        case ast.Did(of):
            return bool(events.matching(of))
        case ast.Sequence(steps, window):
            return _is_followed(events.matching(steps[0].events, window), steps[1:], events)
        case ast.InSegment(key):
            definition = events.catalogue.segments[key]
            return is_in(
                definition.condition,
                events.profile,
                purpose=definition.purpose,
                catalogue=events.catalogue,
                now=events.now,
            )
        case ast.Sample(percent, seed):
            of_purpose = hashlib.sha256(events.profile.salt + events.purpose.encode()).digest()
            digest = hashlib.sha256(of_purpose + seed.encode()).digest()
            return int.from_bytes(digest[:8], "big") < sample_threshold(percent)
        case ast.AnyEntry():
            raise ValueError("entries of a list can only be used in an event filter")
        case ast.Known(value):
            return is_observed(value, events)
        case _:
            return truth_of_test(node, value_of(node.value, events), events.catalogue, now=events.now)


def _is_followed(reached: Sequence[EventRecord], steps: Sequence[ast.Step], events: VisibleEvents) -> bool:
    """Whether one of the events reached so far is followed by the remaining steps, each strictly later.

    A step that must not happen is satisfied once its time has passed; without a time of its own, if it has not happened
    up to now.
    """
    if not steps or not reached:
        return bool(reached)
    step, rest = steps[0], steps[1:]
    candidates = events.matching(step.events)
    limit = timedelta(seconds=step.within.seconds) if step.within is not None else None

    def after(event: EventRecord) -> list[EventRecord]:
        later = [candidate for candidate in candidates if candidate.occurred_at > event.occurred_at]
        return [candidate for candidate in later if limit is None or candidate.occurred_at - event.occurred_at <= limit]

    if step.is_absent:
        due = [event for event in reached if limit is None or event.occurred_at + limit <= events.now]
        return any(not after(event) for event in due)
    return any(_is_followed([following], rest, events) for event in reached for following in after(event))
