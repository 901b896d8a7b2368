"""Events and computed traits in SQL: one common table expression (a frame) for each event name, with all its measures."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    LargeBinary,
    Numeric,
    Select,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by
from sqlalchemy.types import Date

from cdp.policy.model import ComputedTrait, ListField, TraitKind
from cdp.query.language import ast
from cdp.query.language.evaluation import HALF_LIVES_MAX
from cdp.query.postgres.filters import event, filter_condition, number_of_entries, property_of
from cdp.query.postgres.scope import EVENT_NAMES, StatementScope
from cdp.query.postgres.values import Boolean, Column, Form
from cdp.schema import identity

canonical = identity.canonical.alias("canonical")
profile = identity.profile.alias("profile")

EventMeasure = ast.Aggregate | ast.Did
"""What is computed from the events of one name, one column each."""

_Over = Callable[[Any], ColumnElement[Any]]
"""Limits an aggregate to the events that satisfy some conditions."""

_NEGLIGIBLE_HALVINGS = 200


def select_events(sets: tuple[ast.Events, ...], purpose: str, scope: StatementScope) -> Select[Any]:
    """The events of permitted profiles that are in any of these sets, which are of one event name.

    They have the name and the bit of the purpose, are retained, lie in a window, and are not from before the permission.
    """
    bounds = [scope.bounds(events.window, events.name) for events in sets]
    name = sets[0].name
    people = scope.permitted(purpose)
    statement = (
        select()
        .select_from(event)
        .join(canonical, canonical.c.anchor_id == event.c.anchor_id)
        .join(people, people.c.profile_id == canonical.c.profile_id)
        .where(
            event.c.retention_class == scope.stored_class(name),
            event.c.name_id == scope.term(EVENT_NAMES, name),
            event.c.occurred_at > min(begins for begins, _ in bounds),
            event.c.occurred_at <= max(ends for _, ends in bounds),
            event.c.bits.op("&")(scope.ids.masks[purpose]) != 0,
            event.c.occurred_at >= people.c.since,
        )
    )
    filters = [events.where for events in sets if events.where is not None]
    if len(filters) < len(sets):
        return statement
    return statement.where(or_(*(filter_condition(sets[0], where, scope) for where in dict.fromkeys(filters))))


def occurrences(events: ast.Events, purpose: str, scope: StatementScope) -> CTE:
    """The profile and the instant of each event."""
    statement = select_events((events,), purpose, scope).add_columns(canonical.c.profile_id, event.c.occurred_at)
    return statement.cte(scope.name("happened")).prefix_with("NOT MATERIALIZED")


def measures_frame(values: tuple[EventMeasure, ...], purpose: str, scope: StatementScope, *, is_source: bool) -> CTE:
    """One row per profile with each of the values of one event name, in their order: `value_1`, `value_2`, …

    The events are read once, whatever their windows and filters. A frame that is joined to others is materialized:
    otherwise each worker of a parallel join would aggregate all events again (measured: three times as slow).
    """
    sets = tuple(dict.fromkeys(value.events for value in values))
    columns = [
        aggregate_of(value, _distinguishing(value.events, sets, scope), scope).label(f"value_{at}")
        for at, value in enumerate(values, 1)
    ]
    statement = select_events(sets, purpose, scope).add_columns(canonical.c.profile_id, *columns)
    frame = statement.group_by(canonical.c.profile_id).cte(scope.name("events"))
    return frame if is_source else frame.prefix_with("MATERIALIZED")


def _distinguishing(events: ast.Events, sets: tuple[ast.Events, ...], scope: StatementScope) -> tuple[Boolean, ...]:
    """The conditions that distinguish the events of one set from those of the others that are read with it."""
    begins, ends = scope.bounds(events.window, events.name)
    bounds = [scope.bounds(other.window, other.name) for other in sets]
    conditions: list[Boolean] = []
    if begins > min(first for first, _ in bounds):
        conditions.append(event.c.occurred_at > begins)
    if ends < max(last for _, last in bounds):
        conditions.append(event.c.occurred_at <= ends)
    if events.where is not None and any(other.where != events.where for other in sets):
        conditions.append(filter_condition(events, events.where, scope))
    return tuple(conditions)


def aggregate_of(value: EventMeasure, conditions: tuple[Boolean, ...], scope: StatementScope) -> ColumnElement[Any]:
    """The aggregate of a measure, over the events that satisfy the conditions."""

    def over(aggregate: Any) -> ColumnElement[Any]:
        found: ColumnElement[Any] = aggregate.filter(*conditions) if conditions else aggregate
        return found

    match value:
        case ast.Did():
            return over(func.count())
        case ast.Count(_, half_life):
            return over(func.count() if half_life is None else func.sum(_weight(half_life.seconds, scope)))
        case ast.DaysSinceLast():
            age = func.extract("epoch", scope.present - over(func.max(event.c.occurred_at)))
            return func.floor(age / 86_400, type_=Numeric())
        case ast.First():
            return over(func.min(event.c.occurred_at))
        case ast.Last():
            return over(func.max(event.c.occurred_at))
        case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest():
            measure: ColumnElement[Any] = _measure_of(value, over, scope)
            return measure


def column_of(value: EventMeasure, expression: ColumnElement[Any]) -> Column:
    """How the measure is represented in SQL, and its default without events."""
    match value:
        case ast.Count(_, half_life) | ast.Sum(half_life=half_life):
            form = Form.NUMBER if half_life is None else Form.DOUBLE
            is_number_of_events = isinstance(value, ast.Count) and half_life is None
            return Column(expression, form, default=0, is_zero_without_events=is_number_of_events)
        case ast.Did():
            return Column(expression, Form.NUMBER, default=0)
        case ast.Average() | ast.Least() | ast.Greatest() | ast.DaysSinceLast():
            return Column(expression, Form.NUMBER)
        case ast.First() | ast.Last():
            return Column(expression, Form.INSTANT)


def _measure_of(value: ast.Sum | ast.Average | ast.Least | ast.Greatest, over: _Over, scope: StatementScope) -> Any:
    if (found := scope.catalogue.list_field(value.events.name, value.property)) is not None:
        return _measure_of_entries(value, found, over, scope=scope)
    number = property_of(value.events.name, value.property, scope, currency=value.currency).number
    match value:
        case ast.Sum(half_life=half_life):
            if half_life is None:
                return over(func.sum(number, type_=Numeric()))
            return over(func.sum(cast(number, Double) * _weight(half_life.seconds, scope)))
        case ast.Average():
            return over(func.avg(number, type_=Numeric()))
        case ast.Least():
            return over(func.min(number))
        case ast.Greatest():
            return over(func.max(number))


def _measure_of_entries(
    value: ast.Sum | ast.Average | ast.Least | ast.Greatest, found: ListField, over: _Over, *, scope: StatementScope
) -> Any:
    """As for a property, over all entries of a list that have the number: first those of each event, then of all events."""

    def in_event(aggregate: Callable[..., Any]) -> Any:
        return number_of_entries(value, found, scope, aggregate=aggregate)

    match value:
        case ast.Sum(half_life=half_life):
            if half_life is None:
                return over(func.sum(in_event(func.sum), type_=Numeric()))
            return over(func.sum(cast(in_event(func.sum), Double) * _weight(half_life.seconds, scope)))
        case ast.Average():
            total, numbers = (over(func.sum(in_event(part), type_=Numeric())) for part in (func.sum, func.count))
            return total / numbers
        case ast.Least():
            return over(func.min(in_event(func.min)))
        case ast.Greatest():
            return over(func.max(in_event(func.max)))


def _weight(half_life_seconds: int, scope: StatementScope) -> ColumnElement[Any]:
    """2^(−age / half-life), 0 beyond 1,000 half-lives, where doubles end."""
    halvings = cast(func.extract("epoch", scope.present - event.c.occurred_at), Double) / float(half_life_seconds)
    return case((halvings <= float(HALF_LIVES_MAX), _power_of_two(-halvings)), else_=cast(literal(0), Double))


def _power_of_two(exponent: ColumnElement[Any]) -> ColumnElement[float]:
    return func.power(cast(literal(2), Double), exponent, type_=Double())


# --- sequences ------------------------------------------------------------------------------------


def sequence_profiles(sequence: ast.Sequence, purpose: str, scope: StatementScope) -> CTE:
    """The profiles whose events follow one another as the sequence requires."""
    first = replace(sequence.steps[0].events, window=sequence.window)
    reached = occurrences(first, purpose, scope)
    for step in sequence.steps[1:]:
        reached = _next(reached, step, purpose, scope=scope)
    return select(reached.c.profile_id).distinct().cte(scope.name("sequence")).prefix_with("MATERIALIZED")


def _next(reached: CTE, step: ast.Step, purpose: str, *, scope: StatementScope) -> CTE:
    """The profiles that reached this step, and when.

    Without a time limit only the first event of the step before matters for a step that must happen, and only the last
    one for a step that must not: a profile with thousands of events costs thousands of comparisons, not millions.
    """
    then = occurrences(step.events, purpose, scope)
    time_limit = timedelta(seconds=step.within.seconds) if step.within is not None else None
    if time_limit is None:
        extreme = func.max if step.is_absent else func.min
        ends = select(reached.c.profile_id, extreme(reached.c.occurred_at).label("occurred_at"))
        reached = ends.group_by(reached.c.profile_id).cte(scope.name("reached"))
    follows = and_(then.c.profile_id == reached.c.profile_id, then.c.occurred_at > reached.c.occurred_at)
    if time_limit is not None:
        follows = and_(follows, then.c.occurred_at <= reached.c.occurred_at + time_limit)
    if not step.is_absent:
        reaching = select(then.c.profile_id, then.c.occurred_at)
        reaching = (
            reaching.join_from(reached, then, follows)
            if time_limit is None
            else reaching.where(exists().where(follows))
        )
        return reaching.cte(scope.name("then"))
    statement = select(reached.c.profile_id, reached.c.occurred_at).where(~exists().where(follows))
    if time_limit is not None:
        statement = statement.where(reached.c.occurred_at <= scope.now - time_limit)
    return statement.cte(scope.name("then"))


# --- samples --------------------------------------------------------------------------------------


def sampled_profiles(threshold: int, seed: str, purpose: str, *, scope: StatementScope) -> CTE:
    """The profiles whose hash lies below the threshold: `sample_threshold` states what is hashed.

    All salts are hashed once and the profiles in the sample are joined: for a million profiles that is faster than
    looking up each salt.
    """
    of_purpose = func.sha256(profile.c.salt.op("||")(_bytes(purpose.encode())))
    hashed = func.sha256(of_purpose.op("||")(_bytes(seed.encode())))
    statement = select(profile.c.profile_id).where(hashed < _bytes(threshold.to_bytes(8, "big")))
    if scope.only is not None:
        statement = statement.where(scope.among_only(profile.c.profile_id))
    return statement.cte(scope.name("sampled"))


def _bytes(value: bytes) -> ColumnElement[bytes]:
    return func.decode(literal(value.hex()), "hex", type_=LargeBinary())


# --- computed traits ------------------------------------------------------------------------------


def computed_frame(key: str, trait: ComputedTrait, purpose: str, *, scope: StatementScope) -> tuple[CTE, Column]:
    """One row per profile with the value of a computed trait, from its day buckets."""
    value = _bucket_value(trait, scope)
    bucket, landmark = scope.tables.bucket, scope.tables.landmark
    statement = select_buckets(key, trait, purpose, scope=scope)
    statement = statement.add_columns(canonical.c.profile_id, value.label("value_1")).group_by(canonical.c.profile_id)
    if trait.half_life_days is not None:
        statement = statement.join(
            landmark,
            and_(
                landmark.c.trait == bucket.c.trait,
                landmark.c.generation == bucket.c.generation,
                landmark.c.half_life_days == trait.half_life_days,
            ),
        )
    frame = statement.cte(scope.name("computed")).prefix_with("MATERIALIZED")
    result = frame.c.value_1
    plan = scope.catalogue.computed_plan(trait)
    if plan is not None:
        return frame, Column(result, Form.PLAIN, plan.vocabulary or "")
    if trait.kind is TraitKind.LAST:
        return frame, Column(result, Form.INSTANT)
    return frame, Column(result, Form.NUMBER if trait.half_life_days is None else Form.DOUBLE, default=0)


def select_buckets(key: str, trait: ComputedTrait, purpose: str, *, scope: StatementScope) -> Select[Any]:
    """The day buckets of a computed trait that count for the permitted profiles of a purpose."""
    people, bucket = scope.permitted(purpose), scope.tables.bucket
    today = scope.now.astimezone(UTC).date()
    first_day = today - timedelta(days=scope.catalogue.window_days(trait) - 1)
    return (
        select()
        .select_from(bucket)
        .join(canonical, canonical.c.anchor_id == bucket.c.anchor_id)
        .join(people, people.c.profile_id == canonical.c.profile_id)
        .where(
            bucket.c.trait == key,
            bucket.c.day.between(first_day, today),
            bucket.c.day >= cast(func.timezone("UTC", people.c.since), Date),
        )
    )


def _bucket_value(trait: ComputedTrait, scope: StatementScope) -> ColumnElement[Any]:
    bucket = scope.tables.bucket
    if trait.kind is TraitKind.LAST:
        if trait.property is None:
            return func.max(bucket.c.last_at)
        latest_first = aggregate_order_by(bucket.c.last_plain, bucket.c.last_at.desc(), bucket.c.last_event_id.desc())
        latest: ColumnElement[Any] = func.array_agg(latest_first, type_=ARRAY(JSONB))[1]
        return latest
    if trait.half_life_days is not None:
        return func.sum(_decayed(trait.half_life_days, scope))
    if trait.kind is TraitKind.SUM:
        return cast(func.sum(bucket.c.total), Numeric)
    return func.sum(bucket.c.events)


def _decayed(half_life_days: float, scope: StatementScope) -> ColumnElement[Any]:
    """A forward-decayed total, decayed to now.

    Below 2^−200 it is 0: PostgreSQL raises an error for products that underflow a double.
    """
    age = cast(func.extract("epoch", scope.present - scope.tables.landmark.c.landmark_at), Double)
    at_most = func.least(age / (half_life_days * 86_400.0), 800.0)
    halvings: ColumnElement[float] = func.greatest(at_most, -800.0, type_=Double())
    least = _power_of_two(halvings - float(_NEGLIGIBLE_HALVINGS))
    total = scope.tables.bucket.c.total
    now = total * _power_of_two(-halvings)
    return case((func.abs(total) >= least, now), else_=cast(literal(0), Double))
