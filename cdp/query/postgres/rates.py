"""What an amount of money is worth in the currency of the policy, in SQL."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Numeric, case, cast, func, literal, or_
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.types import DateTime

from cdp.query.postgres.scope import UNKNOWN_TERM_ID, StatementScope
from cdp.query.postgres.values import Boolean, Column


def rate_of(
    stated: Column, at: ColumnElement[datetime], scope: StatementScope, *, only: str | None = None
) -> ColumnElement[Any]:
    """What one unit of a stated currency was worth at an instant; NULL if that is not known.

    With `only`, it is 1 for that currency and NULL for others. A search in a sorted array finds the rate of a day, so that
    years of daily rates cost as much as one.
    """
    rates = scope.catalogue.policy.rates
    if only is not None:
        return case((_is(only, stated, scope), cast(literal(1), Numeric())))
    known = {code: dated for code, dated in rates.steps.items() if _can_be(code, stated, scope)}
    if not known:
        return cast(literal(None), Numeric())
    return case(*((_is(code, stated, scope), _at(dated, at)) for code, dated in _likely_first(known, scope).items()))


_Dated = tuple[tuple[datetime, ...], tuple[Decimal, ...]]


def _likely_first(rates: Mapping[str, _Dated], scope: StatementScope) -> Mapping[str, _Dated]:
    base = scope.catalogue.policy.currencies.currency
    return dict(sorted(rates.items(), key=lambda item: item[0] != base))


def _at(dated: _Dated, at: ColumnElement[datetime]) -> ColumnElement[Any]:
    begins, rates = dated
    if begins[0] == datetime.min.replace(tzinfo=begins[0].tzinfo):
        return cast(literal(rates[0]), Numeric())
    instants = cast(literal(list(begins), ARRAY(DateTime(timezone=True))), ARRAY(DateTime(timezone=True)))
    worth = Grouping(cast(literal(list(rates), ARRAY(Numeric())), ARRAY(Numeric())))  # a subscript needs parentheses
    found: ColumnElement[Any] = worth[func.width_bucket(at, instants)]
    return found


def _can_be(code: str, stated: Column, scope: StatementScope) -> bool:
    """Whether a stored amount can be in this currency: a message named it, or it is that of amounts without one."""
    return scope.term(stated.vocabulary, code) != UNKNOWN_TERM_ID or code == scope.catalogue.policy.rates.unstated


def _is(code: str, stated: Column, scope: StatementScope) -> Boolean:
    named: Boolean = stated.expression == cast(literal(str(scope.term(stated.vocabulary, code))), JSONB)
    return or_(named, stated.expression.is_(None)) if code == scope.catalogue.policy.rates.unstated else named
