"""The values of a profile: traits, computed traits, and aggregates of events."""

from datetime import timedelta
from fractions import Fraction
from typing import assert_never

from cdp.query.language import ast
from cdp.query.reference.events import VisibleEvents
from cdp.query.reference.history import Scalar, exact
from cdp.query.reference.net import net_of, numbers_of


def value_of(node: ast.Value, events: VisibleEvents) -> Scalar | None:
    """A value outside a filter; None when it is absent."""
    match node:
        case ast.Trait(name):
            return exact(events.profile.traits.get(events.purpose, {}).get(name))
        case ast.Computed(name):
            trait = events.catalogue.computed(name)
            assert trait is not None
            return events.computed(trait)
        case ast.Property() | ast.EntryField():
            raise ValueError("a property can only be used in an event filter")
        case ast.Count(of, half_life):
            found = events.matching(of)
            if half_life is None:
                return Fraction(len(found))
            return events.decayed([(event, 1.0) for event in found], half_life.seconds)
        case ast.Net():
            return net_of(node, events)
        case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest():
            return _amount(node, events)
        case ast.DaysSinceLast() | ast.First() | ast.Last():
            return _instant(node, events)
        case _:
            assert_never(node)


def is_observed(node: ast.Value, events: VisibleEvents) -> bool:
    """Whether a value rests on something observed: the 0 of a count or sum without events does not."""
    match node:
        case ast.Count(of):
            return bool(events.matching(of))
        case ast.Sum() | ast.Net():
            return bool(numbers_of(node, events))
        case ast.Computed(name):
            trait = events.catalogue.computed(name)
            assert trait is not None
            return bool(events.counted(trait))
        case _:
            return value_of(node, events) is not None


def _amount(node: ast.Sum | ast.Average | ast.Least | ast.Greatest, events: VisibleEvents) -> Scalar | None:
    pairs = numbers_of(node, events)
    amounts = [amount for _, amount in pairs]
    match node:
        case ast.Sum(half_life=half_life):
            if half_life is None:
                return sum(amounts, Fraction(0))
            return events.decayed([(event, float(amount)) for event, amount in pairs], half_life.seconds)
        case ast.Average():
            return sum(amounts, Fraction(0)) / len(amounts) if amounts else None
        case ast.Least():
            return min(amounts, default=None)
        case ast.Greatest():
            return max(amounts, default=None)
        case _:
            assert_never(node)


def _instant(node: ast.DaysSinceLast | ast.First | ast.Last, events: VisibleEvents) -> Scalar | None:
    instants = [event.occurred_at for event in events.matching(node.events)]
    if not instants:
        return None
    match node:
        case ast.DaysSinceLast():
            return Fraction((events.now - max(instants)) // timedelta(days=1))
        case ast.First():
            return min(instants)
        case ast.Last():
            return max(instants)
        case _:
            assert_never(node)
