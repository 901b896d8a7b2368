"""Events and computed traits in SQL: one common table expression for each set of events, all its measures at once."""

from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, Double, Numeric, Select, and_, case, cast, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by
from sqlalchemy.types import Date

from cdp.policy.model import ComputedTrait, PropertyPlan, TraitKind
from cdp.query.language import ast
from cdp.query.postgres.scope import EVENT_NAMES, StatementScope
from cdp.query.postgres.values import Boolean, Column, Form, amount, plain, test
from cdp.schema import behavior, identity

event = behavior.event.alias("event")
bucket = behavior.bucket.alias("bucket")
landmark = behavior.landmark.alias("landmark")
canonical = identity.canonical.alias("canonical")

Measured = ast.Aggregate | ast.Did
"""What is read from the events of one name, side by side."""

_MOST_HALVINGS = 1000
_NOTHING_BELOW = 200


def chosen(events: ast.Events, where: ast.Condition, shared: StatementScope, *, may_be_null: bool = True) -> Boolean:
    """The filter of a set of events; the name of the event decides what the properties are.

    A filter takes what is true, so false and unknown are the same unless a `not` is above.
    """
    match where:
        case ast.And(terms):
            return and_(*(chosen(events, term, shared, may_be_null=may_be_null) for term in terms))
        case ast.Or(terms):
            first, *others = (chosen(events, term, shared, may_be_null=may_be_null) for term in terms)
            for other in others:
                first = first | other
            return first
        case ast.Not(term):
            return ~chosen(events, term, shared, may_be_null=False)
        case ast.Did() | ast.Sequence() | ast.InSegment() | ast.Sample():
            raise ValueError("a filter names only properties")
        case _:
            assert isinstance(where.value, ast.Property)
            plan = _plan(shared, events.name, where.value.name)
            return test(where, plain(event.c.plain, where.value.name, plan), shared, may_be_null=may_be_null)


def happened(names: tuple[ast.Events, ...], purpose: str, shared: StatementScope) -> Select[Any]:
    """The events of permitted profiles that lie in any of these sets of one event name.

    Right name and purpose, retained, in the window, and not before the permission began.
    """
    bounds = [shared.bounds(each.window, each.name) for each in names]
    name = names[0].name
    people = shared.permitted(purpose)
    statement = (
        select()
        .select_from(event)
        .join(canonical, canonical.c.anchor_id == event.c.anchor_id)
        .join(people, people.c.profile_id == canonical.c.profile_id)
        .where(
            event.c.retention_class == shared.catalogue.policy.events.class_of(name),
            event.c.name_id == shared.term(EVENT_NAMES, name),
            event.c.occurred_at > min(begins for begins, _ in bounds),
            event.c.occurred_at <= max(ends for _, ends in bounds),
            event.c.bits.op("&")(shared.ground.masks[purpose]) != 0,
            event.c.occurred_at >= people.c.since,
        )
    )
    filters = [each.where for each in names if each.where is not None]
    if len(filters) < len(names):
        return statement
    return statement.where(or_(*(chosen(names[0], where, shared) for where in dict.fromkeys(filters))))


def occurrences(events: ast.Events, purpose: str, shared: StatementScope) -> CTE:
    """Who and when, one row an event."""
    statement = happened((events,), purpose, shared).add_columns(canonical.c.profile_id, event.c.occurred_at)
    return statement.cte(shared.name("happened")).prefix_with("NOT MATERIALIZED")


def measured(values: tuple[Measured, ...], purpose: str, shared: StatementScope, *, is_source: bool) -> CTE:
    """One row a profile with each of the values of one event name, in their order: `value_1`, `value_2`, …

    The events are read once, whatever their windows and filters. A frame that is joined to others is materialized:
    otherwise each worker of a parallel join would aggregate all events again (measured: three times the work).
    """
    sets = tuple(dict.fromkeys(value.events for value in values))
    columns = [
        measure(value, _apart(value.events, sets, shared), shared).label(f"value_{at}")
        for at, value in enumerate(values, 1)
    ]
    statement = happened(sets, purpose, shared).add_columns(canonical.c.profile_id, *columns)
    frame = statement.group_by(canonical.c.profile_id).cte(shared.name("events"))
    return frame if is_source else frame.prefix_with("MATERIALIZED")


def _apart(events: ast.Events, sets: tuple[ast.Events, ...], shared: StatementScope) -> tuple[Boolean, ...]:
    """What tells the events of one set from those of the others that are read with it."""
    mine = shared.bounds(events.window, events.name)
    bounds = [shared.bounds(each.window, each.name) for each in sets]
    apart: list[Boolean] = []
    if mine[0] > min(begins for begins, _ in bounds):
        apart.append(event.c.occurred_at > mine[0])
    if mine[1] < max(ends for _, ends in bounds):
        apart.append(event.c.occurred_at <= mine[1])
    if events.where is not None and any(each.where != events.where for each in sets):
        apart.append(chosen(events, events.where, shared))
    return tuple(apart)


def measure(value: Measured, apart: tuple[Boolean, ...], shared: StatementScope) -> ColumnElement[Any]:
    """The aggregate itself, over the events that are told apart."""

    def over(aggregate: Any) -> ColumnElement[Any]:
        found: ColumnElement[Any] = aggregate.filter(*apart) if apart else aggregate
        return found

    match value:
        case ast.Did():
            return over(func.count())
        case ast.Count(_, half_life):
            return over(func.count() if half_life is None else func.sum(_weight(half_life.seconds, shared)))
        case ast.DaysSinceLast():
            age = func.extract("epoch", shared.present - over(func.max(event.c.occurred_at)))
            return func.floor(age / 86_400, type_=Numeric())
        case ast.First():
            return over(func.min(event.c.occurred_at))
        case ast.Last():
            return over(func.max(event.c.occurred_at))
        case ast.Sum() | ast.Average() | ast.Least() | ast.Greatest():
            return over(_measure_of(value, shared))


def column_of(value: Measured, expression: ColumnElement[Any]) -> Column:
    """How the value lies in SQL, and what it is of nothing."""
    match value:
        case ast.Count(_, half_life) | ast.Sum(half_life=half_life):
            return Column(expression, Form.NUMBER if half_life is None else Form.DOUBLE, of_nothing=0)
        case ast.Did():
            return Column(expression, Form.NUMBER, of_nothing=0)
        case ast.Average() | ast.Least() | ast.Greatest() | ast.DaysSinceLast():
            return Column(expression, Form.NUMBER)
        case ast.First() | ast.Last():
            return Column(expression, Form.INSTANT)


def _measure_of(value: ast.Sum | ast.Average | ast.Least | ast.Greatest, shared: StatementScope) -> Any:
    plan = _plan(shared, value.events.name, value.property)
    number = amount(plain(event.c.plain, value.property, plan).expression)
    match value:
        case ast.Sum(half_life=half_life):
            if half_life is None:
                return func.sum(number, type_=Numeric())
            return func.sum(cast(number, Double) * _weight(half_life.seconds, shared))
        case ast.Average():
            return func.avg(number, type_=Numeric())
        case ast.Least():
            return func.min(number)
        case ast.Greatest():
            return func.max(number)


def _weight(half_life_seconds: int, shared: StatementScope) -> ColumnElement[Any]:
    """2^(−age / half-life), 0 beyond 1,000 half-lives, where doubles end."""
    halvings = cast(func.extract("epoch", shared.present - event.c.occurred_at), Double) / float(half_life_seconds)
    return case((halvings <= float(_MOST_HALVINGS), _power_of_two(-halvings)), else_=cast(literal(0), Double))


def _power_of_two(exponent: ColumnElement[Any]) -> ColumnElement[float]:
    return func.power(cast(literal(2), Double), exponent, type_=Double())


def _plan(shared: StatementScope, event_name: str, name: str) -> PropertyPlan:
    plan = shared.catalogue.property(event_name, name)
    if plan is None:
        raise ValueError("a property that the checks refuse")
    return plan


# --- sequences ------------------------------------------------------------------------------------


def followed(sequence: ast.Sequence, purpose: str, shared: StatementScope) -> CTE:
    """The profiles whose events come one after another as the sequence says."""
    first = replace(sequence.steps[0].events, window=sequence.window)
    reached = occurrences(first, purpose, shared)
    for step in sequence.steps[1:]:
        reached = _next(reached, step, purpose, shared=shared)
    return select(reached.c.profile_id).distinct().cte(shared.name("sequence")).prefix_with("MATERIALIZED")


def _next(reached: CTE, step: ast.Step, purpose: str, *, shared: StatementScope) -> CTE:
    """Who reached this step, and when.

    Where nothing limits the wait, of what was reached before only the first counts for a step that came, and only the
    last for one that is missing: so that a person with thousands of events costs thousands of comparisons, not millions.
    """
    then = occurrences(step.events, purpose, shared)
    patience = timedelta(seconds=step.within.seconds) if step.within is not None else None
    if patience is None:
        only = func.max if step.is_absent else func.min
        ends = select(reached.c.profile_id, only(reached.c.occurred_at).label("occurred_at"))
        reached = ends.group_by(reached.c.profile_id).cte(shared.name("reached"))
    follows = and_(then.c.profile_id == reached.c.profile_id, then.c.occurred_at > reached.c.occurred_at)
    if patience is not None:
        follows = and_(follows, then.c.occurred_at <= reached.c.occurred_at + patience)
    if not step.is_absent:
        came = select(then.c.profile_id, then.c.occurred_at)
        came = came.join_from(reached, then, follows) if patience is None else came.where(exists().where(follows))
        return came.cte(shared.name("then"))
    statement = select(reached.c.profile_id, reached.c.occurred_at).where(~exists().where(follows))
    if patience is not None:
        statement = statement.where(reached.c.occurred_at <= shared.now - patience)
    return statement.cte(shared.name("then"))


# --- computed traits ------------------------------------------------------------------------------


def computed(key: str, trait: ComputedTrait, purpose: str, *, shared: StatementScope) -> tuple[CTE, Column]:
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
    frame = statement.cte(shared.name("computed")).prefix_with("MATERIALIZED")
    found = frame.c.value_1
    plan = shared.catalogue.computed_plan(trait)
    if plan is not None:
        return frame, Column(found, Form.PLAIN, plan.vocabulary or "")
    if trait.kind is TraitKind.LAST:
        return frame, Column(found, Form.INSTANT)
    return frame, Column(found, Form.NUMBER if trait.half_life_days is None else Form.DOUBLE, of_nothing=0)


def _bucket_value(trait: ComputedTrait, shared: StatementScope) -> ColumnElement[Any]:
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


def _faded(half_life_days: float, shared: StatementScope) -> ColumnElement[Any]:
    """A forward-decayed total brought to now.

    Below 2^−200 it is nothing: PostgreSQL refuses products that a double cannot hold.
    """
    age = cast(func.extract("epoch", shared.present - landmark.c.landmark_at), Double)
    at_most = func.least(age / (half_life_days * 86_400.0), 800.0)
    halvings: ColumnElement[float] = func.greatest(at_most, -800.0, type_=Double())
    least = _power_of_two(halvings - float(_NOTHING_BELOW))
    now = bucket.c.total * _power_of_two(-halvings)
    return case((func.abs(bucket.c.total) >= least, now), else_=cast(literal(0), Double))
