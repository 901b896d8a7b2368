"""Filters of events in SQL: tests of properties, and filters of which an entry of a list must be true.

A list is read as one only where it is stored as one: before the policy said so, its name may have had another type.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, false, func, null, select, true
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import TableValuedAlias

from cdp.policy.model import ListField, PropertyPlan
from cdp.query.language import ast
from cdp.query.language.catalogue import currency_vocabulary
from cdp.query.postgres.rates import rate_of
from cdp.query.postgres.scope import StatementScope
from cdp.query.postgres.values import Boolean, Column, Form, holds, json_of, plain, test
from cdp.schema import behavior

event = behavior.event.alias("event")

_Leaf = Callable[[ast.Condition, bool], Boolean]
"""A condition that joins no others, in SQL; the second argument is `may_be_null` of `values.test`."""


def filter_condition(
    events: ast.Events, where: ast.Condition, scope: StatementScope, *, may_be_null: bool = True
) -> Boolean:
    """The filter of a set of events; the event name determines what the properties are.

    A filter selects what is true, so false and unknown have the same effect unless there is a `not` above.
    """

    def leaf(node: ast.Condition, may_be_null: bool) -> Boolean:
        match node:
            case ast.And() | ast.Or() | ast.Not() | ast.Did() | ast.Sequence() | ast.InSegment() | ast.Sample():
                raise ValueError("an event filter can only read properties of the event")
            case ast.AnyEntry():
                return _any_entry(node, events.name, scope, may_be_null=may_be_null)
            case _:
                assert isinstance(node.value, ast.Property)
                return test(node, property_of(events.name, node.value.name, scope), scope, may_be_null=may_be_null)

    return _logic(where, leaf, may_be_null=may_be_null)


def entries_of(source: ColumnElement[Any], of: str, scope: StatementScope) -> TableValuedAlias:
    """The entries of a list of the jsonb object `source`, one row each with the column `value`; no rows without the list."""
    elements = func.jsonb_array_elements(case((_is_list(source, of), _of(source, of))))
    return elements.table_valued(sql_column("value", JSONB), name=scope.name("entry")).render_derived()


def property_of(
    event_name: str,
    name: str,
    scope: StatementScope,
    *,
    currency: str | None = None,
    at: ColumnElement[datetime] = event.c.occurred_at,
) -> Column:
    """A property of an event; an amount of money in the currency of the policy, or absent unless it is in `currency`.

    It is converted by the rate when the event occurred, or `at` another instant.
    """
    plan = stated_plan(scope.catalogue.property(event_name, name))
    found = plain(event.c.plain, name, plan)
    if plan.currency is None:
        return found
    stated = Column(_of(event.c.plain, plan.currency), Form.PLAIN, _vocabulary(event_name, name, scope))
    return Column(found.number * rate_of(stated, at, scope, only=currency), Form.NUMBER)


def _field_of(
    entry: ColumnElement[Any],
    event_name: str,
    field: ast.EntryField,
    *,
    scope: StatementScope,
    currency: str | None = None,
) -> Column:
    """A field of an entry of a list; an amount of money without a currency has that of the event."""
    plan = stated_plan(scope.catalogue.entry_field(event_name, field.of, field.name))
    found = plain(entry, field.name, plan)
    if plan.currency is None:
        return found
    named = func.coalesce(_of(entry, plan.currency), _of(event.c.plain, plan.currency), type_=JSONB())
    stated = Column(named, Form.PLAIN, _vocabulary(event_name, f"{field.of}.{field.name}", scope))
    return Column(found.number * rate_of(stated, event.c.occurred_at, scope, only=currency), Form.NUMBER)


def _of(source: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    return source.op("->", return_type=JSONB())(name)


def _vocabulary(event_name: str, name: str, scope: StatementScope) -> str:
    return currency_vocabulary(scope.catalogue, event_name, name) or ""


def number_of_entries(
    value: ast.OfProperty, found: ListField, scope: StatementScope, *, aggregate: Callable[..., Any]
) -> ColumnElement[Any]:
    """An aggregate of the numbers that the entries of a list of an event have in a field; NULL without such a number."""
    entries = entries_of(event.c.plain, found.list, scope)
    field = ast.EntryField(found.list, found.field)
    number = _field_of(entries.c.value, value.events.name, field, scope=scope, currency=value.currency).number
    return select(aggregate(number)).select_from(entries).correlate(event).scalar_subquery()


def _logic(node: ast.Condition, leaf: _Leaf, *, may_be_null: bool) -> Boolean:
    match node:
        case ast.And(terms):
            return and_(*(_logic(term, leaf, may_be_null=may_be_null) for term in terms))
        case ast.Or(terms):
            first, *others = (_logic(term, leaf, may_be_null=may_be_null) for term in terms)
            for other in others:
                first = first | other
            return first
        case ast.Not(term):
            return ~_logic(term, leaf, may_be_null=False)
        case _:
            return leaf(node, may_be_null)


def _any_entry(node: ast.AnyEntry, name: str, scope: StatementScope, *, may_be_null: bool) -> Boolean:
    """Whether the filter is true for an entry; otherwise NULL if it is for one, or without the list."""
    terms = node.where.terms if isinstance(node.where, ast.And) else (node.where,)
    equal = [test for test in _equalities(terms) if not _is_money(node.of, test, name, scope=scope)]
    held = _holds_entry(node.of, equal, name, scope=scope) if equal and may_be_null else true()
    if may_be_null and len(equal) == len(terms):
        return held
    entries = entries_of(event.c.plain, node.of, scope)

    def leaf(inner: ast.Condition, may_be_null: bool) -> Boolean:
        assert isinstance(inner, ast.Test)
        assert isinstance(inner.value, ast.EntryField)
        return test(inner, _field_of(entries.c.value, name, inner.value, scope=scope), scope, may_be_null=may_be_null)

    condition = _logic(node.where, leaf, may_be_null=may_be_null)
    if may_be_null:
        # What an entry must be equal to is asked of the whole list before its entries are read: less than half of the time.
        return and_(held, exists(select(1).select_from(entries).where(condition).correlate(event)))
    truth = case((func.bool_or(condition), true()), (func.bool_or(condition.is_(None)), null()), else_=false())
    found = select(truth).select_from(entries).correlate(event).scalar_subquery()
    return case((_is_list(event.c.plain, node.of), found))


def _equalities(terms: Sequence[ast.Condition]) -> Sequence[ast.Compare]:
    """The tests among these that say what a field is equal to, one for each field."""
    tests: dict[str, ast.Compare] = {}
    for term in terms:
        if (
            isinstance(term, ast.Compare)
            and term.operator is ast.Operator.EQ
            and isinstance(term.value, ast.EntryField)
            and not isinstance(term.literal, ast.Day)
        ):
            tests.setdefault(term.value.name, term)
    return tuple(tests.values())


def _is_money(of: str, test: ast.Compare, name: str, *, scope: StatementScope) -> bool:
    """Whether a test is about an amount of money, which is converted before it is compared."""
    assert isinstance(test.value, ast.EntryField)
    return currency_vocabulary(scope.catalogue, name, f"{of}.{test.value.name}") is not None


def _holds_entry(of: str, tests: Sequence[ast.Compare], name: str, *, scope: StatementScope) -> Boolean:
    """Whether one entry has all these values: false without the list, and much faster than reading each entry."""
    fields = []
    for equal in tests:
        assert isinstance(equal.value, ast.EntryField)
        assert not isinstance(equal.literal, ast.Day)
        plan = stated_plan(scope.catalogue.entry_field(name, of, equal.value.name))
        fields.append(f"{json.dumps(equal.value.name)}: {json_of(equal.literal, plan.vocabulary or '', scope)}")
    return holds(event.c.plain, f"{{{json.dumps(of)}: [{{{', '.join(fields)}}}]}}")


def _is_list(source: ColumnElement[Any], of: str) -> Boolean:
    is_list: Boolean = func.jsonb_typeof(_of(source, of)) == "array"
    return is_list


def stated_plan(plan: PropertyPlan | None) -> PropertyPlan:
    """The plan of what a condition reads, which the checks have found."""
    if plan is None:
        raise ValueError("a property that the checks reject")
    return plan
