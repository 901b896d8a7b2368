"""Truth of conditions and tests: Kleene's connectives, and the comparison of one value with literals."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import assert_never

from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.evaluation import NotEvaluable
from cdp.query.language.kleene import Kleene, all_of, any_of, negate
from cdp.query.reference.history import Scalar

Leaf = ast.Test | ast.Did | ast.Sequence | ast.InSegment | ast.Sample | ast.AnyEntry
"""A condition that joins no others."""

_RELATIONS: Mapping[ast.Operator, Callable[[int], bool]] = {
    ast.Operator.EQ: lambda position: position == 0,
    ast.Operator.NE: lambda position: position != 0,
    ast.Operator.LT: lambda position: position < 0,
    ast.Operator.LE: lambda position: position <= 0,
    ast.Operator.GT: lambda position: position > 0,
    ast.Operator.GE: lambda position: position >= 0,
}
"""The relations, over −1, 0 or 1: whether the value lies below, at or above the literal."""


def truth_of(node: ast.Condition, leaf: Callable[[Leaf], Kleene]) -> Kleene:
    """The truth of a condition, given that of its leaves."""
    match node:
        case ast.And(terms):
            return all_of([truth_of(term, leaf) for term in terms])
        case ast.Or(terms):
            return any_of([truth_of(term, leaf) for term in terms])
        case ast.Not(term):
            return negate(truth_of(term, leaf))
        case _:
            return leaf(node)


def truth_of_test(node: ast.Test, value: Scalar | None, catalogue: Catalogue, *, now: datetime) -> Kleene:
    """The truth of a test of a value, which was observed if it is present; None for an absent value. Raises NotEvaluable."""
    if isinstance(node, ast.Percentile | ast.ZScore | ast.Quantile):
        raise NotEvaluable(type(node).__name__)
    if isinstance(node, ast.Exists | ast.Known):
        return value is not None
    if value is None:
        return None
    match node:
        case ast.Compare(_, operator, literal):
            return _compare(value, operator, literal, catalogue=catalogue)
        case ast.OneOf(_, literals):
            return any(_compare(value, ast.Operator.EQ, literal, catalogue=catalogue) for literal in literals)
        case ast.Contains(_, text):
            return isinstance(value, str) and text in value
        case ast.StartsWith(_, text):
            return isinstance(value, str) and value.startswith(text)
        case ast.Between(_, low, high):
            is_above = _compare(value, ast.Operator.GE, low, catalogue=catalogue)
            return is_above and _compare(value, ast.Operator.LE, high, catalogue=catalogue)
        case ast.Recent(_, duration):
            assert isinstance(value, datetime)
            return now - timedelta(seconds=duration.seconds) < value <= now
        case _:
            assert_never(node)


def _compare(value: Scalar, operator: ast.Operator, literal: ast.Literal, *, catalogue: Catalogue) -> bool:
    """Days are whole: `=` is within the day, `<` before it begins, `>` after it has ended."""
    if isinstance(literal, ast.Day):
        assert isinstance(value, datetime)
        begins, ends = catalogue.start_of(literal.value), catalogue.end_of(literal.value)
        return _RELATIONS[operator](-1 if value < begins else 1 if value >= ends else 0)
    if isinstance(literal, ast.Number):
        assert isinstance(value, Fraction | float)
        bound = Fraction(literal.value)
        return _RELATIONS[operator](-1 if value < bound else 1 if value > bound else 0)
    return _RELATIONS[operator](0 if value == literal.value else 1)
