"""When time alone can change a membership: for each profile the earliest instant after now, derived from the condition.

The instant is a lower bound. Nothing changes before it unless something arrives; at it, the condition must be evaluated
again, which may find nothing changed and gives the next instant. What makes conditions depend on time:

- events and day buckets leave a window, or what is retained; a step that must not happen becomes due;
- an instant passes a `within`, a number of whole days passes a bound, a decayed value falls to a bound;
- a permission begins or ends.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Double, Interval, Select, case, cast, func, literal, select, true, union_all
from sqlalchemy.types import DateTime

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.evaluation import HALF_LIVES_MAX
from cdp.query.postgres import measures
from cdp.query.postgres.filters import entries_of, event
from cdp.query.postgres.scope import InternedIds, StatementScope
from cdp.query.postgres.values import Column, Form, amount, plain

_SOONEST: Final = timedelta(milliseconds=1)
"""A decayed value can be rounded to the wrong side of its bound; the next look is at least this much later."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_MAX: Final = 36_500


def next_instants(
    condition: ast.Condition,
    catalogue: Catalogue,
    ids: InternedIds,
    *,
    purpose: str,
    now: datetime,
    until: datetime,
    only: tuple[int, ...] | None = None,
) -> Select[tuple[int, datetime]]:
    """One row (`profile_id`, `at`) for each profile whose membership can change by time alone in (now, until].

    The condition has passed the static checks; `only` limits the result to some profiles.
    """
    scope = StatementScope(catalogue, ids, now, only)
    candidates = union_all(*_Instants(scope, purpose, until).of(condition)).subquery("candidate")
    at = candidates.c.at
    return (
        select(candidates.c.profile_id, func.min(at).label("at"))
        .where(at > scope.present, at <= literal(until))
        .group_by(candidates.c.profile_id)
    )


class _Instants:
    """The instants of one condition under one purpose, as statements with the columns `profile_id` and `at`."""

    def __init__(self, scope: StatementScope, purpose: str, until: datetime) -> None:
        self.scope = scope
        self.purpose = purpose
        self.until = until
        self.people = scope.permitted(purpose)

    def of(self, condition: ast.Condition) -> Iterator[Select[Any]]:
        """Every statement for a condition; at least one."""
        yield from self._permitted_spans()
        computed: set[str] = set()
        for node in dict.fromkeys(ast.walk(condition)):
            match node:
                case ast.InSegment(key):
                    other = self.scope.catalogue.segments[key]
                    yield from _Instants(self.scope, other.purpose, self.until).of(other.condition)
                case ast.Sequence():
                    yield from self._sequence(node)
                case ast.Events():
                    yield from self._events(node)
                case ast.Net():
                    for event in self.scope.catalogue.policy.events.taking_back(node.events.name):
                        yield from self._events(ast.Events(event.key))
                case ast.Computed(name) if name not in computed:
                    computed.add(name)
                    yield self._buckets(name)
                case ast.Recent(value, duration) if not isinstance(value, ast.Property | ast.EntryField):
                    yield self._recent(value, duration)
                case ast.Compare() | ast.OneOf() | ast.Between():
                    yield from self._bounds(node)
                case _:
                    continue

    def _permitted_spans(self) -> Iterator[Select[Any]]:
        permitted = self.scope.permitted_spans(self.purpose)
        for instant in (permitted.c.since, permitted.c.until):
            yield select(permitted.c.profile_id, instant.label("at")).where(
                instant > self.scope.present, instant <= literal(self.until)
            )

    # --- events leave ---------------------------------------------------------------------------

    def _events(self, events: ast.Events) -> Iterator[Select[Any]]:
        """The earliest event leaves its window, or what is retained; a filter may depend on time itself."""
        recent = [node for node in ast.walk(events.where) if isinstance(node, ast.Recent)] if events.where else []
        found = replace(events, where=None) if recent else events
        yield self._leaving(found, self._lasting(events))
        for test in recent:
            statement = measures.select_events((found,), self.purpose, self.scope)
            source: ColumnElement[Any] = event.c.plain
            plan = self.scope.catalogue.plan_of(test.value, events.name)
            assert isinstance(test.value, ast.Property | ast.EntryField)
            assert plan is not None
            if isinstance(test.value, ast.EntryField):
                entries = entries_of(source, test.value.of, self.scope)
                statement, source = statement.join(entries, true()), entries.c.value
            moving = self._passing(plain(source, test.value.name, plan), test.duration)
            yield statement.add_columns(measures.canonical.c.profile_id, moving.label("at"))

    def _lasting(self, events: ast.Events) -> timedelta:
        """How long an event of the set counts."""
        kept = self.scope.catalogue.keep_for(events.name)
        match events.window:
            case ast.Within(duration):
                return min(kept, timedelta(seconds=duration.seconds))
            case _:
                return kept

    def _leaving(self, events: ast.Events, lasting: timedelta) -> Select[Any]:
        profile_id = measures.canonical.c.profile_id
        earliest = func.min(event.c.occurred_at) + literal(lasting, Interval())
        statement = measures.select_events((events,), self.purpose, self.scope)
        return statement.add_columns(profile_id, earliest.label("at")).group_by(profile_id)

    def _sequence(self, sequence: ast.Sequence) -> Iterator[Select[Any]]:
        """What its steps do not yield as events themselves: the window of the first step, and a step that must not happen."""
        yield from self._events(replace(sequence.steps[0].events, window=sequence.window))
        last, before = sequence.steps[-1], sequence.steps[-2]
        if last.is_absent and last.within is not None:
            waiting = replace(before.events, window=ast.Within(last.within), where=None)
            yield self._leaving(waiting, timedelta(seconds=last.within.seconds))

    def _buckets(self, key: str) -> Select[Any]:
        """The day bucket that leaves first does so at midnight in UTC."""
        trait = self.scope.catalogue.computed(key)
        assert trait is not None
        first_day = func.min(self.scope.tables.bucket.c.day) + self.scope.catalogue.window_days(trait)
        at = func.timezone("UTC", cast(first_day, DateTime()), type_=DateTime(timezone=True))
        profile_id = measures.canonical.c.profile_id
        statement = measures.select_buckets(key, trait, self.purpose, scope=self.scope)
        return statement.add_columns(profile_id, at.label("at")).group_by(profile_id)

    # --- values pass bounds ---------------------------------------------------------------------

    def _bounds(self, test: ast.Compare | ast.OneOf | ast.Between) -> Iterator[Select[Any]]:
        """Days since the last event pass the numbers of a test; a decayed value falls to them."""
        value, bounds = test.value, _numbers(test)
        match value:
            case ast.DaysSinceLast(events):
                latest = self._measure(ast.Last(events))
                days = sorted({whole + more for whole in map(math.floor, bounds) for more in (0, 1)})
                instants = [
                    latest.c.value_1 + literal(timedelta(days=day), Interval()) for day in days if 0 <= day <= _DAYS_MAX
                ]
                yield from (select(latest.c.profile_id, instant.label("at")) for instant in instants)
            case ast.Count(events, half_life) | ast.Sum(events, half_life=half_life) if half_life is not None:
                frame = self._measure(value)
                yield from self._falling(frame, frame.c.value_1, half_life_seconds=half_life.seconds, bounds=bounds)
                minutes = half_life.seconds * HALF_LIVES_MAX // 60
                if timedelta(minutes=minutes) < self._lasting(events):
                    window = ast.Within(ast.Duration(count=minutes, unit=ast.Unit.MINUTE))
                    yield self._leaving(replace(events, window=window, where=None), timedelta(minutes=minutes))
            case ast.Computed(name):
                trait = self.scope.catalogue.computed(name)
                assert trait is not None
                if trait.half_life_days is not None:
                    frame, column = measures.computed_frame(name, trait, self.purpose, scope=self.scope)
                    yield from self._falling(
                        frame, column.expression, half_life_seconds=trait.half_life_days * 86_400, bounds=bounds
                    )
            case _:
                return

    def _falling(
        self, frame: Any, value: ColumnElement[Any], *, half_life_seconds: float, bounds: list[Decimal]
    ) -> Iterator[Select[Any]]:
        """When an exponentially decaying value reaches a bound of the same sign."""
        for bound in bounds:
            if not bound:
                continue
            is_beyond = value > float(bound) if bound > 0 else value < float(bound)
            halvings = (func.ln(func.abs(value)) - math.log(abs(bound))) / math.log(2)
            seconds = func.least(halvings * (half_life_seconds * (1 - 1e-9)), self._seconds_left)
            falls_at = self.scope.present + func.greatest(
                cast(func.make_interval(0, 0, 0, 0, 0, 0, seconds), Interval()), literal(_SOONEST, Interval())
            )
            yield select(frame.c.profile_id, falls_at.label("at")).where(is_beyond)

    @property
    def _seconds_left(self) -> float:
        return (self.until - self.scope.now).total_seconds() + 60

    def _recent(self, value: ast.Value, duration: ast.Duration) -> Select[Any]:
        """When an instant comes to be, and when it is no longer, within the duration before now."""
        match value:
            case ast.Trait(name):
                plan = self.scope.catalogue.trait(name)
                assert plan is not None
                at = self._passing(plain(self.people.c.traits, name, plan), duration)
                return select(self.people.c.profile_id, at.label("at"))
            case ast.Computed(name):
                trait = self.scope.catalogue.computed(name)
                assert trait is not None
                frame, column = measures.computed_frame(name, trait, self.purpose, scope=self.scope)
                return select(frame.c.profile_id, self._passing(column, duration).label("at"))
            case _:
                assert isinstance(value, ast.First | ast.Last)
                measured = self._measure(value)
                column = Column(measured.c.value_1, Form.INSTANT)
                return select(measured.c.profile_id, self._passing(column, duration).label("at"))

    def _passing(self, column: Column, duration: ast.Duration) -> ColumnElement[Any]:
        """The next of the two instants at which a `within` of this value changes; NULL when both have passed."""
        lasting = timedelta(seconds=duration.seconds)
        instant = _instant(column, self.scope.now - lasting, self.until)
        return case((instant > self.scope.present, instant), else_=instant + literal(lasting, Interval()))

    def _measure(self, value: measures.EventMeasure) -> Any:
        return measures.measures_frame((value,), self.purpose, self.scope, is_source=True)


def _instant(column: Column, begins: datetime, ends: datetime) -> ColumnElement[Any]:
    """A value as an instant; NULL outside (begins, ends], where a plain number may be no instant at all."""
    if column.form is Form.INSTANT:
        return column.expression
    micros = amount(column.expression)
    first, last = ((instant - _EPOCH) // timedelta(microseconds=1) for instant in (begins, ends))
    found = literal(_EPOCH, DateTime(timezone=True)) + cast(micros, Double) * literal(
        timedelta(microseconds=1), Interval()
    )
    return case(((micros > first) & (micros <= last), found))


def _numbers(test: ast.Compare | ast.OneOf | ast.Between) -> list[Decimal]:
    match test:
        case ast.Compare(_, _, ast.Number(bound)):
            return [bound]
        case ast.OneOf(_, literals):
            return [item.value for item in literals if isinstance(item, ast.Number)]
        case ast.Between(_, ast.Number(low), ast.Number(high)):
            return [low, high]
        case _:
            return []
