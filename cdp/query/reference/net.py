"""The numbers of events, and what remains of them after others took some back."""

from collections import defaultdict
from fractions import Fraction

from cdp.policy.model import EventPlan
from cdp.query.language import ast
from cdp.query.reference.events import VisibleEvents
from cdp.query.reference.history import EventRecord, exact


def numbers_of(node: ast.OfProperty, events: VisibleEvents) -> list[tuple[EventRecord, Fraction]]:
    """The events that have a numeric property, with its value; those with a list once for each entry with the number."""
    return [
        (event, amount)
        for event in events.matching(node.events)
        for amount in events.numbers(event, node.property, node.currency)
    ]


def net_of(node: ast.Net, events: VisibleEvents) -> Fraction:
    """The sum of an amount after refunds and cancellations.

    Events with the same reference, such as an order number, are one order. What is taken back of it is converted by the rate
    of the order, counts whatever its sign, and never exceeds the order. Without a reference nothing can be taken back.
    """
    orders: dict[object, list[tuple[EventRecord, Fraction]]] = defaultdict(list)
    for pair in numbers_of(node, events):
        orders[_references(pair[0], events, of=node.events.name)].append(pair)
    return sum((_remaining(node, found, events) for found in orders.values()), Fraction(0))


def _references(event: EventRecord, events: VisibleEvents, *, of: str) -> tuple[tuple[str, str], ...]:
    names = sorted(
        {
            other.takes_back.by
            for other in events.catalogue.policy.events.taking_back(of)
            if other.takes_back is not None
        }
    )
    return tuple((name, str(event.properties[name])) for name in names if name in event.properties)


def _remaining(node: ast.Net, order: list[tuple[EventRecord, Fraction]], events: VisibleEvents) -> Fraction:
    total = sum((amount for _, amount in order), Fraction(0))
    placed_at = min(event.occurred_at for event, _ in order)
    taken = Fraction(0)
    references = dict(_references(order[0][0], events, of=node.events.name))
    for other in events.catalogue.policy.events.taking_back(node.events.name):
        for event in _taking_back(other, references, events):
            if _takes_all(event, other):
                return Fraction(0)
            value = exact(event.properties.get(node.property))
            amount = events.worth(event, value, other.properties[node.property], currency=node.currency, at=placed_at)
            taken += abs(amount) if isinstance(amount, Fraction) else 0
    return max(total - taken, min(total, Fraction(0)))


def _taking_back(other: EventPlan, references: dict[str, str], events: VisibleEvents) -> list[EventRecord]:
    """The events of a name that take back amounts of the order with these references."""
    by = other.takes_back.by if other.takes_back is not None else ""
    if by not in references:
        return []
    return [event for event in events.named(other.key) if str(event.properties.get(by)) == references[by]]


def _takes_all(event: EventRecord, plan: EventPlan) -> bool:
    """A cancellation takes back everything, and so does a refund that states no amount at all."""
    is_partial = any(name in event.properties for name in plan.amounts)
    return not is_partial or (plan.takes_back is not None and plan.takes_back.in_full)
