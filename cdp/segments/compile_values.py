"""Values and tests in SQL. NULL is unknown, so SQL's own logic is Kleene's."""

import operator as op
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Double, Numeric, and_, case, cast, func, literal, not_, or_, select, true
from sqlalchemy.dialects.postgresql import JSONB

from cdp.policy.model import PropertyPlan, PropertyType
from cdp.schema import behavior
from cdp.segments import ast
from cdp.segments.compile_scope import Shared, micros

Boolean = ColumnElement[bool]

term = behavior.term.alias("term")


class Form(StrEnum):
    """How a value lies in SQL."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TERM = "term"
    MICROS = "micros"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True)
class Column:
    """A value in SQL, NULL when absent.

    `of_nothing` is what it stands for where no row was found (0 for counts and sums); None: absent.
    """

    expression: ColumnElement[Any]
    form: Form
    vocabulary: str = ""
    of_nothing: int | None = None

    @property
    def settled(self) -> ColumnElement[Any]:
        """The value with nothing turned into what nothing means."""
        return self.expression if self.of_nothing is None else func.coalesce(self.expression, self.of_nothing)


_RELATIONS: Mapping[ast.Operator, Callable[[Any, Any], Any]] = {
    ast.Operator.EQ: op.eq,
    ast.Operator.NE: op.ne,
    ast.Operator.LT: op.lt,
    ast.Operator.LE: op.le,
    ast.Operator.GT: op.gt,
    ast.Operator.GE: op.ge,
}


def plain(source: ColumnElement[Any], name: str, plan: PropertyPlan) -> Column:
    """A field of a jsonb column; a value of another type than the plan's counts as absent."""
    found = source.op("->", return_type=JSONB())(name)
    kind = func.jsonb_typeof(found)
    if plan.type is PropertyType.BOOLEAN:
        return Column(case((kind == "boolean", found == cast(literal("true"), JSONB))), Form.BOOLEAN)
    form = {PropertyType.INSTANT: Form.MICROS, PropertyType.STRING: Form.TERM}.get(plan.type, Form.NUMBER)
    return Column(case((kind == "number", cast(found, Numeric))), form, plan.vocabulary or "")


def test(node: ast.Test, column: Column, shared: Shared, *, may_be_null: bool) -> Boolean:
    """One test of a value.

    With `may_be_null` a test that is false for nothing may give NULL there: only where false and unknown are the
    same, so that the planner can see that profiles without events drop out.
    """
    if isinstance(node, ast.Exists | ast.Known):
        return true() if column.of_nothing is not None else column.expression.is_not(None)
    strict = may_be_null and column.of_nothing is not None and not _holds_for(node, column.of_nothing)
    value = column.expression if strict else column.settled
    match node:
        case ast.Compare(_, operator, bound):
            return _compare(value, column, operator, bound, shared)
        case ast.OneOf(_, literals):
            return _one_of(value, column, literals, shared)
        case ast.Between(_, low, high):
            above = _compare(value, column, ast.Operator.GE, low, shared)
            return and_(above, _compare(value, column, ast.Operator.LE, high, shared))
        case ast.Recent(_, duration):
            begins = shared.now - timedelta(seconds=duration.seconds)
            return and_(value > _instant(begins, column), value <= _instant(shared.now, column))
        case ast.Contains(_, text):
            return _among(value, column, func.strpos(term.c.term, text) > 0)
        case ast.StartsWith(_, text):
            return _among(value, column, func.starts_with(term.c.term, text))
        case ast.Percentile() | ast.ZScore() | ast.Quantile():
            raise ValueError("percentile, zscore and quantile are refused by the checks")


def _holds_for(node: ast.Test, number: int) -> bool:
    """Whether a test of numbers is true for this number."""
    match node:
        case ast.Compare(_, operator, ast.Number(bound)):
            return bool(_RELATIONS[operator](number, bound))
        case ast.OneOf(_, literals):
            return any(isinstance(each, ast.Number) and each.value == number for each in literals)
        case ast.Between(_, ast.Number(low), ast.Number(high)):
            return low <= number <= high
        case _:
            return True


def _compare(
    value: ColumnElement[Any], column: Column, operator: ast.Operator, bound: ast.Literal, shared: Shared
) -> Boolean:
    match bound:
        case ast.Number(number):
            is_double = isinstance(column.expression.type, Double)
            return _relate(value, operator, float(number) if is_double else _exact(number))
        case ast.Flag(flag):
            return _relate(value, operator, literal(flag))
        case ast.Text(text):
            return _relate(value, operator, shared.term(column.vocabulary, text))
        case ast.Day(day):
            return _compare_day(value, column, operator, day, shared)


def _one_of(value: ColumnElement[Any], column: Column, literals: tuple[ast.Literal, ...], shared: Shared) -> Boolean:
    texts = [shared.term(column.vocabulary, each.value) for each in literals if isinstance(each, ast.Text)]
    if texts:
        return value.in_(texts)
    numbers = [each.value for each in literals if isinstance(each, ast.Number)]
    if numbers and not isinstance(column.expression.type, Double):
        # The driver takes the type of a list from its first element, so it holds decimals only.
        return value.in_(numbers)
    return or_(*(_compare(value, column, ast.Operator.EQ, each, shared) for each in literals))


def _compare_day(
    value: ColumnElement[Any], column: Column, operator: ast.Operator, day: date, shared: Shared
) -> Boolean:
    begins = _instant(shared.catalogue.start_of(day), column)
    ends = _instant(shared.catalogue.end_of(day), column)
    match operator:
        case ast.Operator.LT:
            return value < begins
        case ast.Operator.GE:
            return value >= begins
        case ast.Operator.GT:
            return value >= ends
        case ast.Operator.LE:
            return value < ends
        case ast.Operator.EQ:
            return and_(value >= begins, value < ends)
        case ast.Operator.NE:
            return not_(and_(value >= begins, value < ends))


def _relate(value: ColumnElement[Any], operator: ast.Operator, bound: object) -> Boolean:
    related: Boolean = _RELATIONS[operator](value, bound)
    return related


def _exact(number: Any) -> Any:
    """Whole numbers as integers: comparing numeric with integer is exact, and counts stay integers."""
    return int(number) if number == number.to_integral_value() else number


def _instant(instant: datetime, column: Column) -> datetime | int:
    return micros(instant) if column.form is Form.MICROS else instant


def _among(value: ColumnElement[Any], column: Column, chosen: ColumnElement[Any]) -> Boolean:
    """Whether the term is one of those chosen; unknown when absent, even if none is chosen."""
    ids = select(term.c.term_id).where(term.c.vocabulary == column.vocabulary, chosen)
    return case((value.is_not(None), value.in_(ids)))
