"""Events and computed traits in SQL: one common table expression for each set of events, all its measures at once."""

from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, Double, Numeric, Select, and_, case, cast, exists, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by
from sqlalchemy.types import Date

from cdp.policy.model import ComputedTrait, PropertyPlan, TraitKind
from cdp.schema import behavior, identity
from cdp.segments import ast
from cdp.segments.compile_scope import EVENT_NAMES, Shared
from cdp.segments.compile_values import Boolean, Column, Form, plain, test

event = behavior.event.alias("event")
bucket = behavior.bucket.alias("bucket")
landmark = behavior.landmark.alias("landmark")
canonical = identity.canonical.alias("canonical")

_MOST_HALVINGS = 1000
_NOTHING_BELOW = 200


def chosen(events: ast.Events, where: ast.Condition, shared: Shared) -> Boolean:
    """The filter of a set of events; the name of the event decides what the properties are."""
    match where:
        case ast.And(terms):
            return and_(*(chosen(events, term, shared) for term in terms))
        case ast.Or(terms):
            first, *others = (chosen(events, term, shared) for term in terms)
            for other in others:
                first = first | other
            return first
        case ast.Not(term):
            return ~chosen(events, term, shared)
        case ast.Did() | ast.Sequence() | ast.InSegment() | ast.Sample():
            raise ValueError("a filter names only properties")
        case _:
            assert isinstance(where.value, ast.Property)
            plan = _plan(shared, events.name, where.value.name)
            return test(where, plain(event.c.plain, where.value.name, plan), shared, may_be_null=False)


def happened(events: ast.Events, purpose: str, shared: Shared, window: ast.Window | None = None) -> Select[Any]:
    """The events of permitted profiles: right name and purpose, retained, in the window, not before the permission."""
    begins, ends = shared.bounds(window or events.window, events.name)
    people = shared.permitted(purpose)
    statement = (
        select()
        .select_from(event)
        .join(canonical, canonical.c.anchor_id == event.c.anchor_id)
        .join(people, people.c.profile_id == canonical.c.profile_id)
        .where(
            event.c.retention_class == shared.catalogue.policy.events.class_of(events.name),
            event.c.name_id == shared.term(EVENT_NAMES, events.name),
            event.c.occurred_at > begins,
            event.c.occurred_at <= ends,
            event.c.bits.op("&")(shared.ground.masks[purpose]) != 0,
            event.c.occurred_at >= people.c.since,
        )
    )
    return statement if events.where is None else statement.where(chosen(events, events.where, shared))


def occurrences(events: ast.Events, purpose: str, shared: Shared, window: ast.Window | None = None) -> CTE:
    """Who and when, one row an event."""
    statement = happened(events, purpose, shared, window).add_columns(canonical.c.profile_id, event.c.occurred_at)
    return statement.cte(shared.name("happened")).prefix_with("NOT MATERIALIZED")


def measured(events: ast.Events, values: tuple[ast.Aggregate, ...], purpose: str, shared: Shared) -> CTE:
    """One row a profile with each of the values, in their order, as columns `value_1`, `value_2`, …"""
    columns = [measure(value, shared).label(f"value_{at}") for at, value in enumerate(values, 1)]
    statement = happened(events, purpose, shared).add_columns(canonical.c.profile_id, *columns)
    return statement.group_by(canonical.c.profile_id).cte(shared.name("events"))


def measure(value: ast.Aggregate, shared: Shared) -> ColumnElement[Any]:
    """The aggregate itself."""
    match value:
        case ast.Count(_, half_life):
            return func.count() if half_life is None else func.sum(_weight(half_life.seconds, shared))
        case ast.DaysSinceLast():
            age = func.extract("epoch", shared.present - func.max(event.c.occurred_at))
            return func.floor(age / 86_400, type_=Numeric())
        case ast.First():
            return func.min(event.c.occurred_at)
        case ast.Last():
            return func.max(event.c.occurred_at)
        case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest():
            return _measure_of(value, shared)


def form_of(value: ast.Aggregate) -> tuple[Form, int | None]:
    """How the value lies in SQL, and what it is of nothing."""
    match value:
        case ast.Count() | ast.Sum():
            return Form.NUMBER, 0
        case ast.Average() | ast.Least() | ast.Greatest() | ast.DaysSinceLast():
            return Form.NUMBER, None
        case ast.First() | ast.Last():
            return Form.INSTANT, None


def _measure_of(value: ast.Sum | ast.Average | ast.Least | ast.Greatest, shared: Shared) -> ColumnElement[Any]:
    amount = plain(event.c.plain, value.property, _plan(shared, value.events.name, value.property)).expression
    match value:
        case ast.Sum(half_life=half_life):
            if half_life is None:
                return func.sum(amount, type_=Numeric())
            return func.sum(cast(amount, Double) * _weight(half_life.seconds, shared))
        case ast.Average():
            return func.avg(amount, type_=Numeric())
        case ast.Least():
            return func.min(amount)
        case ast.Greatest():
            return func.max(amount)


def _weight(half_life_seconds: int, shared: Shared) -> ColumnElement[Any]:
    """2^(−age / half-life), 0 beyond 1,000 half-lives, where doubles end."""
    halvings = cast(func.extract("epoch", shared.present - event.c.occurred_at), Double) / float(half_life_seconds)
    return case((halvings <= float(_MOST_HALVINGS), _power_of_two(-halvings)), else_=cast(literal(0), Double))


def _power_of_two(exponent: ColumnElement[Any]) -> ColumnElement[float]:
    return func.power(cast(literal(2), Double), exponent, type_=Double())


def _plan(shared: Shared, event_name: str, name: str) -> PropertyPlan:
    plan = shared.catalogue.property(event_name, name)
    if plan is None:
        raise ValueError("a property that the checks refuse")
    return plan


# --- sequences ------------------------------------------------------------------------------------


def followed(sequence: ast.Sequence, purpose: str, shared: Shared) -> CTE:
    """The profiles whose events come one after another as the sequence says."""
    reached = occurrences(sequence.steps[0].events, purpose, shared, sequence.window)
    for step in sequence.steps[1:]:
        reached = _next(reached, step, purpose, shared)
    return select(reached.c.profile_id).distinct().cte(shared.name("sequence"))


def _next(reached: CTE, step: ast.Step, purpose: str, shared: Shared) -> CTE:
    then = occurrences(step.events, purpose, shared)
    patience = timedelta(seconds=step.within.seconds) if step.within is not None else None
    follows = and_(then.c.profile_id == reached.c.profile_id, then.c.occurred_at > reached.c.occurred_at)
    if patience is not None:
        follows = and_(follows, then.c.occurred_at <= reached.c.occurred_at + patience)
    if not step.is_absent:
        statement = select(then.c.profile_id, then.c.occurred_at).distinct().join_from(reached, then, follows)
        return statement.cte(shared.name("then"))
    statement = select(reached.c.profile_id, reached.c.occurred_at).where(~exists().where(follows))
    if patience is not None:
        statement = statement.where(reached.c.occurred_at <= shared.now - patience)
    return statement.cte(shared.name("then"))


# --- computed traits ------------------------------------------------------------------------------


def computed(key: str, trait: ComputedTrait, purpose: str, shared: Shared) -> tuple[CTE, Column]:
    """One row a profile with the value of a computed trait, from its day buckets."""
    people = shared.permitted(purpose)
    today = shared.now.astimezone(UTC).date()
    first_day = today - timedelta(days=shared.catalogue.window_days(trait) - 1)
    value = _bucket_value(trait, shared)
    statement = (
        select(canonical.c.profile_id, value.label("value_1"))
        .select_from(bucket)
        .join(canonical, canonical.c.anchor_id == bucket.c.anchor_id)
        .join(people, people.c.profile_id == canonical.c.profile_id)
        .where(
            bucket.c.trait == key,
            bucket.c.day.between(first_day, today),
            bucket.c.day >= cast(func.timezone("UTC", people.c.since), Date),
        )
        .group_by(canonical.c.profile_id)
    )
    if trait.half_life_days is not None:
        statement = statement.join(
            landmark,
            and_(
                landmark.c.trait == bucket.c.trait,
                landmark.c.generation == bucket.c.generation,
                landmark.c.half_life_days == trait.half_life_days,
            ),
        )
    frame = statement.cte(shared.name("computed"))
    found = frame.c.value_1
    plan = shared.catalogue.computed_plan(trait)
    if plan is not None:
        lifted = select(frame.c.profile_id, func.jsonb_build_object("value", found).label("plain")).cte(
            shared.name("computed")
        )
        return lifted, plain(lifted.c.plain, "value", plan)
    if trait.kind is TraitKind.LAST:
        return frame, Column(found, Form.INSTANT)
    return frame, Column(found, Form.NUMBER, of_nothing=0)


def _bucket_value(trait: ComputedTrait, shared: Shared) -> ColumnElement[Any]:
    if trait.kind is TraitKind.LAST:
        if trait.property is None:
            return func.max(bucket.c.last_at)
        latest_first = aggregate_order_by(bucket.c.last_plain, bucket.c.last_at.desc(), bucket.c.last_event_id.desc())
        latest: ColumnElement[Any] = func.array_agg(latest_first, type_=ARRAY(JSONB))[1]
        return latest
    if trait.half_life_days is not None:
        return func.sum(_faded(trait.half_life_days, shared))
    if trait.kind is TraitKind.SUM:
        return cast(func.sum(bucket.c.total), Numeric)
    return func.sum(bucket.c.events)


def _faded(half_life_days: float, shared: Shared) -> ColumnElement[Any]:
    """A forward-decayed total brought to now.

    Below 2^−200 it is nothing: PostgreSQL refuses products that a double cannot hold.
    """
    age = cast(func.extract("epoch", shared.present - landmark.c.landmark_at), Double)
    at_most = func.least(age / (half_life_days * 86_400.0), 800.0)
    halvings: ColumnElement[float] = func.greatest(at_most, -800.0, type_=Double())
    least = _power_of_two(halvings - float(_NOTHING_BELOW))
    now = bucket.c.total * _power_of_two(-halvings)
    return case((func.abs(bucket.c.total) >= least, now), else_=cast(literal(0), Double))
