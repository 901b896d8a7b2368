"""Filters of events in SQL: tests of properties, and filters of which an entry of a list must be true.

A list is read as one only where it is stored as one: before the policy said so, its name may have had another type.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, false, func, null, select, true
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import TableValuedAlias

from cdp.policy.model import PropertyPlan
from cdp.query.language import ast
from cdp.query.postgres.scope import StatementScope
from cdp.query.postgres.values import Boolean, amount, holds, json_of, plain, test
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
                name = node.value.name
                column = plain(event.c.plain, name, stated_plan(scope.catalogue.property(events.name, name)))
                return test(node, column, scope, may_be_null=may_be_null)

    return _logic(where, leaf, may_be_null=may_be_null)


def entries_of(source: ColumnElement[Any], of: str, scope: StatementScope) -> TableValuedAlias:
    """The entries of a list of the jsonb object `source`, one row each with the column `value`; no rows without the list."""
    elements = func.jsonb_array_elements(case((_is_list(source, of), _list(source, of))))
    return elements.table_valued(sql_column("value", JSONB), name=scope.name("entry")).render_derived()


def number_of_entries(
    of: str, name: str, scope: StatementScope, *, aggregate: Callable[..., Any]
) -> ColumnElement[Any]:
    """An aggregate of the numbers that the entries of a list of an event have under a name; NULL without such a number."""
    entries = entries_of(event.c.plain, of, scope)
    number = amount(entries.c.value.op("->", return_type=JSONB())(name))
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
    equal = _equalities(terms)
    held = _holds_entry(node.of, equal, name, scope=scope) if equal and may_be_null else true()
    if may_be_null and len(equal) == len(terms):
        return held
    entries = entries_of(event.c.plain, node.of, scope)

    def leaf(inner: ast.Condition, may_be_null: bool) -> Boolean:
        assert isinstance(inner, ast.Test)
        assert isinstance(inner.value, ast.EntryField)
        plan = stated_plan(scope.catalogue.entry_field(name, node.of, inner.value.name))
        return test(inner, plain(entries.c.value, inner.value.name, plan), scope, may_be_null=may_be_null)

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


def _holds_entry(of: str, tests: Sequence[ast.Compare], name: str, *, scope: StatementScope) -> Boolean:
    """Whether one entry has all these values: false without the list, and much faster than reading each entry."""
    fields = []
    for equal in tests:
        assert isinstance(equal.value, ast.EntryField)
        assert not isinstance(equal.literal, ast.Day)
        plan = stated_plan(scope.catalogue.entry_field(name, of, equal.value.name))
        fields.append(f"{json.dumps(equal.value.name)}: {json_of(equal.literal, plan.vocabulary or '', scope)}")
    return holds(event.c.plain, f"{{{json.dumps(of)}: [{{{', '.join(fields)}}}]}}")


def _list(source: ColumnElement[Any], of: str) -> ColumnElement[Any]:
    return source.op("->", return_type=JSONB())(of)


def _is_list(source: ColumnElement[Any], of: str) -> Boolean:
    is_list: Boolean = func.jsonb_typeof(_list(source, of)) == "array"
    return is_list


def stated_plan(plan: PropertyPlan | None) -> PropertyPlan:
    """The plan of what a condition reads, which the checks have found."""
    if plan is None:
        raise ValueError("a property that the checks reject")
    return plan
