"""Values and tests in SQL. NULL is unknown, so SQL's own logic is Kleene's.

Fields kept plain are compared as jsonb, without a cast: no stored value can make a statement fail, and it is fast.
"""

import json
import operator as op
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Numeric, and_, case, cast, func, literal, or_, select, true
from sqlalchemy.dialects.postgresql import JSONB

from cdp.policy.model import PropertyPlan
from cdp.query.language import ast
from cdp.query.language.printer import number as written
from cdp.query.postgres.scope import StatementScope, micros
from cdp.schema import behavior

Boolean = ColumnElement[bool]

term = behavior.term.alias("term")


class Form(StrEnum):
    """How a value lies in SQL."""

    NUMBER = "number"
    DOUBLE = "double"
    INSTANT = "instant"
    PLAIN = "plain"
    """A jsonb scalar: number, boolean, term id, or microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Column:
    """A value in SQL, NULL when absent.

    `of_nothing` is what it stands for where no row was found (0 for counts and sums); None: absent. `field` is where a
    plain value lies: the jsonb object and the name.
    """

    expression: ColumnElement[Any]
    form: Form
    vocabulary: str = ""
    of_nothing: int | None = None
    field: tuple[ColumnElement[Any], str] | None = None

    @property
    def settled(self) -> ColumnElement[Any]:
        """The value with nothing turned into what nothing means."""
        return self.expression if self.of_nothing is None else func.coalesce(self.expression, self.of_nothing)

    def bound(self, value: Decimal | bool | int | datetime) -> Any:
        """What the value is compared with, as it lies itself."""
        match self.form:
            case Form.PLAIN:
                return cast(literal(_json(value)), JSONB)
            case Form.DOUBLE:
                assert isinstance(value, Decimal)
                return float(value)
            case Form.NUMBER | Form.INSTANT:
                return value


_RELATIONS: Mapping[ast.Operator, Callable[[Any, Any], Any]] = {
    ast.Operator.EQ: op.eq,
    ast.Operator.NE: op.ne,
    ast.Operator.LT: op.lt,
    ast.Operator.LE: op.le,
    ast.Operator.GT: op.gt,
    ast.Operator.GE: op.ge,
}


def plain(source: ColumnElement[Any], name: str, plan: PropertyPlan) -> Column:
    """A field of a jsonb column."""
    return Column(source.op("->", return_type=JSONB())(name), Form.PLAIN, plan.vocabulary or "", field=(source, name))


def amount(found: ColumnElement[Any]) -> ColumnElement[Any]:
    """A jsonb scalar as an exact number; one of another type counts as absent."""
    return case((func.jsonb_typeof(found) == "number", cast(found, Numeric)))


def test(node: ast.Test, column: Column, shared: StatementScope, *, may_be_null: bool) -> Boolean:
    """One test of a value.

    With `may_be_null` a test that is false for nothing may give NULL there: only where false and unknown are the
    same, so that the planner can see that profiles without events drop out.
    """
    if isinstance(node, ast.Exists | ast.Known):
        return true() if column.of_nothing is not None else column.expression.is_not(None)
    strict = may_be_null and column.of_nothing is not None and not holds_for(node, column.of_nothing)
    value = column.expression if strict else column.settled
    match node:
        case ast.Compare(_, ast.Operator.EQ, ast.Number() | ast.Flag() | ast.Text() as bound) if (
            may_be_null and column.field is not None
        ):
            return _holds(*column.field, _scalar(bound, column, shared))
        case ast.Compare(_, operator, bound):
            return _compare(value, column, operator, bound=bound, shared=shared)
        case ast.OneOf(_, literals):
            return _one_of(value, column, literals, shared=shared)
        case ast.Between(_, low, high):
            above = _compare(value, column, ast.Operator.GE, bound=low, shared=shared)
            return and_(above, _compare(value, column, ast.Operator.LE, bound=high, shared=shared))
        case ast.Recent(_, duration):
            begins = shared.now - timedelta(seconds=duration.seconds)
            return and_(value > column.bound(begins), value <= column.bound(shared.now))
        case ast.Contains(_, text):
            return _among(value, column, func.strpos(term.c.term, text) > 0)
        case ast.StartsWith(_, text):
            return _among(value, column, func.starts_with(term.c.term, text))
        case ast.Percentile() | ast.ZScore() | ast.Quantile():
            raise ValueError("percentile, zscore and quantile are refused by the checks")


def holds_for(node: ast.Test, number: int) -> bool:
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


def _holds(source: ColumnElement[Any], name: str, value: Decimal | bool | int) -> Boolean:
    """Whether the object holds the value under that name: false for nothing, and half the work of taking it out."""
    held = cast(literal(f"{{{json.dumps(name)}: {_json(value)}}}"), JSONB)
    return source.op("@>", is_comparison=True)(held)


def _compare(
    value: ColumnElement[Any], column: Column, operator: ast.Operator, *, bound: ast.Literal, shared: StatementScope
) -> Boolean:
    match bound:
        case ast.Day(day):
            return _compare_day(value, column, operator, day=day, shared=shared)
        case ast.Number() | ast.Flag() | ast.Text():
            related: Boolean = _RELATIONS[operator](value, column.bound(_scalar(bound, column, shared)))
            is_open = column.form is Form.PLAIN and operator in (ast.Operator.GT, ast.Operator.GE)
            return and_(related, value < _ABOVE_NUMBERS) if is_open else related


_ABOVE_NUMBERS = cast(literal("false"), JSONB)
"""In the order of jsonb booleans come after all numbers: a boolean from before a change of type is no great number."""


def _one_of(
    value: ColumnElement[Any], column: Column, literals: tuple[ast.Literal, ...], *, shared: StatementScope
) -> Boolean:
    if isinstance(literals[0], ast.Day) or column.form is Form.DOUBLE:
        return or_(*(_compare(value, column, ast.Operator.EQ, bound=each, shared=shared) for each in literals))
    scalars = [_scalar(each, column, shared) for each in literals if not isinstance(each, ast.Day)]
    return value.in_([column.bound(each) for each in scalars])


def _scalar(bound: ast.Number | ast.Flag | ast.Text, column: Column, shared: StatementScope) -> Decimal | bool | int:
    return shared.term(column.vocabulary, bound.value) if isinstance(bound, ast.Text) else bound.value


def _compare_day(
    value: ColumnElement[Any], column: Column, operator: ast.Operator, *, day: date, shared: StatementScope
) -> Boolean:
    begins = column.bound(shared.catalogue.start_of(day))
    ends = column.bound(shared.catalogue.end_of(day))
    is_before: Boolean = value < begins
    is_begun: Boolean = value >= begins
    is_over: Boolean = value >= ends
    is_not_over: Boolean = value < ends
    match operator:
        case ast.Operator.LT:
            return is_before
        case ast.Operator.GE:
            return is_begun
        case ast.Operator.GT:
            return is_over
        case ast.Operator.LE:
            return is_not_over
        case ast.Operator.EQ:
            return and_(is_begun, is_not_over)
        case ast.Operator.NE:
            return or_(is_before, is_over)


def _json(value: Decimal | bool | int | datetime) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(micros(value))
    return written(value) if isinstance(value, Decimal) else str(value)


def _among(value: ColumnElement[Any], column: Column, chosen: ColumnElement[Any]) -> Boolean:
    """Whether the term is one of those chosen; unknown when absent, even if none is chosen."""
    ids = select(func.to_jsonb(term.c.term_id, type_=JSONB())).where(term.c.vocabulary == column.vocabulary, chosen)
    return case((value.is_not(None), value.in_(ids)))
