"""Values and tests in SQL. NULL is unknown, so SQL's own logic is Kleene's.

Fields kept in plain are compared as jsonb, without a cast: no stored value can make a statement fail, and it is fast.
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
from cdp.query.language.evaluation import NotEvaluable
from cdp.query.language.printer import number as written
from cdp.query.postgres.scope import StatementScope, epoch_microseconds
from cdp.schema import behavior

Boolean = ColumnElement[bool]

term = behavior.term.alias("term")


class Form(StrEnum):
    """How a value is represented in SQL."""

    NUMBER = "number"
    DOUBLE = "double"
    INSTANT = "instant"
    PLAIN = "plain"
    """A jsonb scalar: number, boolean, term id, or microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Column:
    """A value in SQL, NULL when absent.

    `default` is the value of a profile without a row (0 for counts and sums); None means absent. `field` is the origin
    of a plain value: the jsonb object and the name. `is_zero_without_events` is set for numbers of events, which are 0,
    not NULL, for a profile whose only events of that name do not count.
    """

    expression: ColumnElement[Any]
    form: Form
    vocabulary: str = ""
    default: int | None = None
    field: tuple[ColumnElement[Any], str] | None = None
    is_zero_without_events: bool = False

    @property
    def with_default(self) -> ColumnElement[Any]:
        """The value, with the default in place of NULL."""
        return self.expression if self.default is None else func.coalesce(self.expression, self.default)

    @property
    def number(self) -> ColumnElement[Any]:
        """The value as an exact number; NULL where it is not one."""
        return amount(self.expression) if self.form is Form.PLAIN else self.expression

    def bound(self, value: Decimal | bool | int | datetime) -> Any:
        """A value to compare with, in the same representation."""
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


def amount(scalar: ColumnElement[Any]) -> ColumnElement[Any]:
    """A jsonb scalar as an exact number; one of another type counts as absent."""
    return case((func.jsonb_typeof(scalar) == "number", cast(scalar, Numeric)))


def test(node: ast.Test, column: Column, scope: StatementScope, *, may_be_null: bool) -> Boolean:
    """One test of a value. Raises NotEvaluable.

    With `may_be_null`, a test that is false for the default may be NULL instead. Allowed only where false and unknown
    have the same effect; it lets the planner see that profiles without a row drop out.
    """
    if isinstance(node, ast.Exists):
        return true() if column.default is not None else column.expression.is_not(None)
    if isinstance(node, ast.Known):
        return column.with_default > 0 if column.is_zero_without_events else column.expression.is_not(None)
    strict = may_be_null and column.default is not None and not holds_for(node, column.default)
    value = column.expression if strict else column.with_default
    match node:
        case ast.Compare(_, ast.Operator.EQ, ast.Number() | ast.Flag() | ast.Text() as bound) if (
            may_be_null and column.field is not None
        ):
            return _holds(*column.field, _scalar(bound, column, scope))
        case ast.Compare(_, operator, bound):
            return _compare(value, column, operator, bound=bound, scope=scope)
        case ast.OneOf(_, literals):
            return _one_of(value, column, literals, scope=scope)
        case ast.Between(_, low, high):
            above = _compare(value, column, ast.Operator.GE, bound=low, scope=scope)
            return and_(above, _compare(value, column, ast.Operator.LE, bound=high, scope=scope))
        case ast.Recent(_, duration):
            begins = scope.now - timedelta(seconds=duration.seconds)
            return and_(value > column.bound(begins), value <= column.bound(scope.now))
        case ast.Contains(_, text):
            return _among(value, column, func.strpos(term.c.term, text) > 0)
        case ast.StartsWith(_, text):
            return _among(value, column, func.starts_with(term.c.term, text))
        case ast.Percentile() | ast.ZScore() | ast.Quantile():
            raise NotEvaluable("percentile, zscore and quantile are rejected by the checks")


def holds_for(node: ast.Test, number: int) -> bool:
    """Whether a test of numbers is true for this number."""
    match node:
        case ast.Compare(_, operator, ast.Number(bound)):
            return bool(_RELATIONS[operator](number, bound))
        case ast.OneOf(_, literals):
            return any(isinstance(candidate, ast.Number) and candidate.value == number for candidate in literals)
        case ast.Between(_, ast.Number(low), ast.Number(high)):
            return low <= number <= high
        case _:
            return True


def _holds(source: ColumnElement[Any], name: str, value: Decimal | bool | int) -> Boolean:
    """Whether the object contains the value under that name: false when absent, and twice as fast as extracting it."""
    return holds(source, f"{{{json.dumps(name)}: {_json(value)}}}")


def holds(source: ColumnElement[Any], held: str) -> Boolean:
    """Whether a jsonb value contains this JSON; false when it is absent."""
    return source.op("@>", is_comparison=True)(cast(literal(held), JSONB))


def json_of(bound: ast.Number | ast.Flag | ast.Text, vocabulary: str, scope: StatementScope) -> str:
    """A value to compare with as it is stored in plain: a string as the id of the term."""
    return _json(scope.term(vocabulary, bound.value) if isinstance(bound, ast.Text) else bound.value)


def _compare(
    value: ColumnElement[Any], column: Column, operator: ast.Operator, *, bound: ast.Literal, scope: StatementScope
) -> Boolean:
    match bound:
        case ast.Day(day):
            return _compare_day(value, column, operator, day=day, scope=scope)
        case ast.Number() | ast.Flag() | ast.Text():
            related: Boolean = _RELATIONS[operator](value, column.bound(_scalar(bound, column, scope)))
            is_open = column.form is Form.PLAIN and operator in (ast.Operator.GT, ast.Operator.GE)
            return and_(related, value < _ABOVE_NUMBERS) if is_open else related


_ABOVE_NUMBERS = cast(literal("false"), JSONB)
"""jsonb orders booleans after all numbers: a boolean stored before a change of type must not compare as a large number."""


def _one_of(
    value: ColumnElement[Any], column: Column, literals: tuple[ast.Literal, ...], *, scope: StatementScope
) -> Boolean:
    if isinstance(literals[0], ast.Day) or column.form is Form.DOUBLE:
        return or_(*(_compare(value, column, ast.Operator.EQ, bound=item, scope=scope) for item in literals))
    scalars = [_scalar(item, column, scope) for item in literals if not isinstance(item, ast.Day)]
    return value.in_([column.bound(scalar) for scalar in scalars])


def _scalar(bound: ast.Number | ast.Flag | ast.Text, column: Column, scope: StatementScope) -> Decimal | bool | int:
    return scope.term(column.vocabulary, bound.value) if isinstance(bound, ast.Text) else bound.value


def _compare_day(
    value: ColumnElement[Any], column: Column, operator: ast.Operator, *, day: date, scope: StatementScope
) -> Boolean:
    begins = column.bound(scope.catalogue.start_of(day))
    ends = column.bound(scope.catalogue.end_of(day))
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
        return str(epoch_microseconds(value))
    return written(value) if isinstance(value, Decimal) else str(value)


def _among(value: ColumnElement[Any], column: Column, matches: ColumnElement[Any]) -> Boolean:
    """Whether the term is one of those that match; unknown when absent, even if none matches."""
    ids = select(func.to_jsonb(term.c.term_id, type_=JSONB())).where(term.c.vocabulary == column.vocabulary, matches)
    return case((value.is_not(None), value.in_(ids)))
