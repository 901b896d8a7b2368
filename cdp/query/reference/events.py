"""Which events of a profile count for a purpose at an instant, and what is computed from them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import fsum
from typing import assert_never

from cdp.policy.model import ComputedTrait, PropertyPlan, TraitKind
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.evaluation import HALF_LIVES_MAX
from cdp.query.language.kleene import Kleene, any_of
from cdp.query.reference.history import EventRecord, PermittedSpan, Profile, Scalar, StatedValue, exact
from cdp.query.reference.logic import Leaf, truth_of, truth_of_test


class VisibleEvents:
    """The events of one profile that may be read for one purpose at one instant."""

    def __init__(self, profile: Profile, purpose: str, catalogue: Catalogue, *, now: datetime) -> None:
        self.profile = profile
        self.purpose = purpose
        self.catalogue = catalogue
        self.now = now

    def named(self, name: str) -> list[EventRecord]:
        """Events of a name that carry the purpose, not from before its permission began, and still retained."""
        permitted = self.profile.permitted.get(self.purpose, PermittedSpan())
        expired_at = self.now - self.catalogue.keep_for(name)
        return [
            event
            for event in self.profile.events
            if event.name == name
            and self.purpose in event.purposes
            and expired_at < event.occurred_at <= self.now
            and (permitted.since is None or event.occurred_at >= permitted.since)
        ]

    def matching(self, events: ast.Events, window: ast.Window | None = None) -> list[EventRecord]:
        """The events in the window for which the filter is true, in order of time; `window` replaces their own."""
        begins, ends = self._bounds(window or events.window)
        found = [
            event
            for event in self.named(events.name)
            if begins <= event.occurred_at < ends and self._matches(event, events.where)
        ]
        return sorted(found, key=lambda event: event.occurred_at)

    def decayed(self, amounts: Iterable[tuple[EventRecord, float]], half_life_seconds: float) -> float:
        """The sum of the amounts, each with the weight 2^(−age / half-life)."""
        ages = [
            ((self.now - event.occurred_at).total_seconds() / half_life_seconds, amount) for event, amount in amounts
        ]
        return fsum(amount * 2.0**-age for age, amount in ages if age <= HALF_LIVES_MAX)

    def computed(self, trait: ComputedTrait) -> Scalar | None:
        """A computed trait straight from the events, in whole UTC days."""
        counted = self.counted(trait)
        if trait.kind is TraitKind.LAST:
            latest = max(counted, key=lambda event: (event.occurred_at, event.event_id), default=None)
            if latest is None:
                return None
            return latest.occurred_at if trait.property is None else exact(latest.properties.get(trait.property))
        numbers = [
            (event, amount)
            for event in counted
            for amount in (
                [Fraction(1)] if trait.property is None else self.numbers(event, trait.property, trait.currency)
            )
        ]
        if trait.half_life_days is not None:
            weighed = [(event, float(amount)) for event, amount in numbers]
            return self.decayed(weighed, trait.half_life_days * 86_400)
        return sum((amount for _, amount in numbers), Fraction(0))

    def counted(self, trait: ComputedTrait) -> list[EventRecord]:
        """The events from which a computed trait is computed."""
        first_day = self.now.astimezone(UTC).date() - timedelta(days=self.catalogue.window_days(trait) - 1)
        return [
            event
            for event in self.named(trait.event)
            if event.occurred_at.astimezone(UTC).date() >= first_day and self._is_counted(event, trait)
        ]

    def values(self, event: EventRecord, name: str) -> list[StatedValue]:
        """What an event has under a name: the value of a property, or those of a field in the entries of a list."""
        found = self.catalogue.list_field(event.name, name)
        if found is None:
            return [event.properties[name]] if name in event.properties else []
        return [entry[found.field] for entry in event.lists.get(found.list, ()) if found.field in entry]

    def numbers(self, event: EventRecord, name: str, currency: str | None = None) -> list[Fraction]:
        """The numbers that an event has under a name; amounts of money as `worth` gives them."""
        found = self.catalogue.list_field(event.name, name)
        plan = self.catalogue.property(event.name, name)
        if found is None:
            values = [self.worth(event, exact(event.properties.get(name)), plan, currency=currency)]
        else:
            values = [
                self.worth(event, exact(entry.get(found.field)), plan, currency=currency, entry=entry)
                for entry in event.lists.get(found.list, ())
            ]
        return [amount for amount in values if isinstance(amount, Fraction)]

    def worth(
        self,
        event: EventRecord,
        value: Scalar | None,
        plan: PropertyPlan | None,
        *,
        currency: str | None = None,
        entry: Mapping[str, StatedValue] | None = None,
        at: datetime | None = None,
    ) -> Scalar | None:
        """A value of an event or of an entry of one of its lists, of which an entry without a currency has that of the event.

        An amount of money in the currency of the policy, by the rate when the event occurred or `at` an instant; absent if it
        has none, or unless it is in `currency`.
        """
        if plan is None or plan.currency is None or not isinstance(value, Fraction):
            return value
        currencies = self.catalogue.policy.currencies
        above = event.properties.get(plan.currency, currencies.unstated)
        stated = above if entry is None else entry.get(plan.currency, above)
        if currency is not None:
            return value if stated == currency else None
        rate = self._rate(stated, at or event.occurred_at)
        return None if rate is None else value * rate

    def _rate(self, currency: object, at: datetime) -> Fraction | None:
        """What one unit was worth: the rate with the latest date that had begun."""
        currencies = self.catalogue.policy.currencies
        if currency == currencies.currency:
            return Fraction(1)
        dated = currencies.rates.get(currency, {}) if isinstance(currency, str) else {}
        begun = [day for day in dated if self.catalogue.start_of(day) <= at]
        return Fraction(repr(dated[max(begun)])) if begun else None

    def _is_counted(self, event: EventRecord, trait: ComputedTrait) -> bool:
        """As for the computed trait itself: true is not 1, an absent property never matches, nor does an amount without a rate."""
        if trait.property is not None and not (
            self.numbers(event, trait.property, trait.currency)
            if trait.kind is TraitKind.SUM
            else self.values(event, trait.property)
        ):
            return False
        pairs = [(self.values(event, name), allowed) for name, allowed in trait.where.items()]
        return all(
            any(
                (type(actual) is bool) is (type(value) is bool) and actual == value
                for actual in found
                for value in allowed
            )
            for found, allowed in pairs
        )

    def _matches(self, event: EventRecord, where: ast.Condition | None) -> bool:
        """Whether the filter is true for an event; an unknown filter does not match."""

        def leaf(node: Leaf) -> Kleene:
            if isinstance(node, ast.AnyEntry):
                return self._any_entry(event, node)
            assert not isinstance(node, ast.Did | ast.Sequence | ast.InSegment | ast.Sample)
            assert isinstance(node.value, ast.Property)
            name = node.value.name
            value = self.worth(event, exact(event.properties.get(name)), self.catalogue.property(event.name, name))
            return truth_of_test(node, value, self.catalogue, now=self.now)

        return where is None or truth_of(where, leaf) is True

    def _any_entry(self, event: EventRecord, node: ast.AnyEntry) -> Kleene:
        """Whether a filter is true for one of the entries; unknown without the list, and false if it is empty."""
        if node.of not in event.lists:
            return None

        def truth(entry: Mapping[str, StatedValue]) -> Kleene:
            def leaf(test: Leaf) -> Kleene:
                assert not isinstance(test, ast.Did | ast.Sequence | ast.InSegment | ast.Sample | ast.AnyEntry)
                assert isinstance(test.value, ast.EntryField)
                plan = self.catalogue.entry_field(event.name, node.of, test.value.name)
                value = self.worth(event, exact(entry.get(test.value.name)), plan, entry=entry)
                return truth_of_test(test, value, self.catalogue, now=self.now)

            return truth_of(node.where, leaf)

        return any_of(map(truth, event.lists[node.of]))

    def _bounds(self, window: ast.Window | None) -> tuple[datetime, datetime]:
        """The first instant of a window, and the first instant after it."""
        instant = timedelta(microseconds=1)
        match window:
            case None:
                return datetime.min.replace(tzinfo=UTC), self.now + instant
            case ast.Within(duration):
                return self.now - timedelta(seconds=duration.seconds) + instant, self.now + instant
            case ast.During(first, last):
                return self.catalogue.start_of(first.value), self.catalogue.end_of(last.value)
            case _:
                assert_never(window)
