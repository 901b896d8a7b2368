"""Checks of events: the purpose must cover them, and a window must not be longer than they are retained."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import assert_never

from cdp.kit.wording import counted
from cdp.policy.model import EventPlan, Purpose
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check_fields import FieldChecks
from cdp.query.language.check_types import type_rejections
from cdp.query.language.rejection import Rejection
from cdp.query.language.suggestion import suggestion


class EventChecks:
    """The checks of events, of their filters and windows, and of the values that are computed from them."""

    def __init__(self, catalogue: Catalogue, purpose: Purpose, now: datetime | None) -> None:
        self.catalogue = catalogue
        self.purpose = purpose
        self.now = now
        self.fields = FieldChecks(catalogue, purpose)

    def value(self, value: ast.Value) -> Iterator[Rejection]:
        """A value outside a filter: a trait, a computed trait, or an aggregate of events."""
        match value:
            case ast.Trait():
                yield from self.fields.trait(value)
            case ast.Computed():
                yield from self.fields.computed(value)
            case ast.Property() | ast.EntryField():
                raise ValueError("a property can only be used in an event filter")
            case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest():
                yield from self.events(value.events)
                if (plan := self.catalogue.event(value.events.name)) is not None:
                    yield from self.fields.amount(value, plan)
            case ast.Net():
                yield from self._net(value)
            case ast.Count(events) | ast.DaysSinceLast(events) | ast.First(events) | ast.Last(events):
                yield from self.events(events)
            case _:
                assert_never(value)

    def _net(self, value: ast.Net) -> Iterator[Rejection]:
        """The amount, and the events that take it back: the purpose must cover them as well."""
        yield from self.events(value.events)
        plan = self.catalogue.event(value.events.name)
        if plan is None:
            return
        yield from self.fields.amount(value, plan)
        if plan.list_field(value.property) is not None:
            hint = "name a property of the event itself, such as revenue"
            yield Rejection(value.at, "events take back amounts of an order, not of the entries of a list", hint)
            return
        taking_back = self.catalogue.policy.events.taking_back(plan.key)
        if not taking_back:
            hint = "use sum, or add `takes_back` to the event of a refund in policies/events.yaml"
            yield Rejection(value.at, f'no event takes back amounts of "{plan.key}"', hint)
        for other in taking_back:
            yield from self._covered(value, other)
            if other.takes_back is not None and not other.takes_back.in_full:
                yield from self.fields.amount(value, other)

    def events(self, events: ast.Events) -> Iterator[Rejection]:
        plan = self.catalogue.event(events.name)
        if plan is None:
            hint = suggestion(events.name, self.catalogue.policy.events.events)
            yield Rejection(events.at, f'the event "{events.name}" is not defined in policies/events.yaml', hint)
            return
        yield from self._covered(events, plan)
        yield from self._window(events.window, events)
        if events.where is not None:
            yield from self._filter(events.where, plan)

    def _covered(self, node: ast.Node, event: EventPlan) -> Iterator[Rejection]:
        """The purpose must cover an event and allow its data category."""
        if not self.purpose.covers(event.key):
            message = f'the purpose {self.purpose.key} does not cover "{event.key}"'
            yield Rejection(node.at, message, f"rule: purposes.{self.purpose.key}.events in policies/purposes.yaml")
        yield from self.fields.category(node, event.category, f'the event "{event.key}"')

    def sequence(self, node: ast.Sequence) -> Iterator[Rejection]:
        for step in node.steps:
            yield from self.events(step.events)
            if step.within is not None:
                yield from self._length(step.within, step.events)
        yield from self._window(node.window, node.steps[0].events)

    def _filter(self, node: ast.Condition, event: EventPlan) -> Iterator[Rejection]:
        match node:
            case ast.And(terms) | ast.Or(terms):
                for term in terms:
                    yield from self._filter(term, event)
            case ast.Not(term):
                yield from self._filter(term, event)
            case ast.Did() | ast.Sequence() | ast.InSegment() | ast.Sample():
                raise ValueError("an event filter can only read properties of the event")
            case ast.AnyEntry(of, where):
                rejections = tuple(self.fields.list_of(node, event, of))
                yield from rejections or self._filter(where, event)
            case _:
                rejections = tuple(self.fields.of_filter(node, event))
                yield from rejections or type_rejections(node, self.catalogue, event.key)

    def _window(self, window: ast.Window | None, events: ast.Events) -> Iterator[Rejection]:
        if isinstance(window, ast.Within):
            yield from self._length(window.duration, events)
        if isinstance(window, ast.During) and self.catalogue.event(events.name) is not None:
            kept = self.catalogue.keep_for(events.name)
            begins, ends = self.catalogue.start_of(window.first.value), self.catalogue.end_of(window.last.value)
            # The hour is for days of 25 hours, when clocks are turned back.
            if ends - begins > kept + timedelta(hours=1):
                yield self._too_long(window, events, kept)
            elif self.now is not None and begins < self.now - kept:
                kept_for = counted(kept.days, "day")
                yield Rejection(
                    window.at,
                    f'"{events.name}" is retained for {kept_for}, so events of {window.first.value} have expired',
                    f"start after {(self.now - kept).date()}",
                )

    def _length(self, duration: ast.Duration, events: ast.Events) -> Iterator[Rejection]:
        if self.catalogue.event(events.name) is not None:
            kept = self.catalogue.keep_for(events.name)
            if timedelta(seconds=duration.seconds) > kept:
                yield self._too_long(duration, events, kept)

    def _too_long(self, node: ast.Node, events: ast.Events, kept: timedelta) -> Rejection:
        retention_class = self.catalogue.policy.events.class_of(events.name)
        return Rejection(
            node.at,
            f'the window is longer than "{events.name}" is retained',
            f"rule: classes.{retention_class}.keep_for_days in policies/retention.yaml is {kept.days}",
        )
