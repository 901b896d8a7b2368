"""Planned values of another type are named by the plan, and so are values that a computed trait misses."""

from typing import Any

import pytest

from cdp.behavior.classify import classify, seal_refused_terms
from cdp.behavior.model import Mistyped, Term, Terms
from cdp.behavior.money import WITH_CURRENCY
from cdp.behavior.rules import compile_plan
from tests.support.policies import shipped

RULES = compile_plan(shipped().events, shipped().traits.values())
REVENUE = Mistyped("revenue", "number")


def of(kind: str = "track", event: str | None = "Order Completed", **fields: Any) -> Any:
    return classify(kind, {"event": event, **fields}, RULES)


@pytest.mark.parametrize("revenue", ["5,00", "19.5", True, [5], {"EUR": 5}, float("nan")])
def test_money_of_another_type_is_sealed_and_named(revenue: object) -> None:
    found = of(properties={"revenue": revenue})
    assert (found.mistyped, found.missing) == ((REVENUE,), ())
    assert found.sealed["properties"].keys() == {"revenue"}
    assert found.plain == {}


def test_money_under_another_name_is_missing() -> None:
    found = of(properties={"total": 5})
    assert (found.mistyped, found.missing) == ((), (REVENUE,))
    assert of(properties={"revenue": None}).missing == (REVENUE,)
    assert of().missing == (REVENUE,)


def test_a_message_in_order_has_neither() -> None:
    found = of(properties={"revenue": 5, "currency": "EUR"})
    assert (found.mistyped, found.missing) == ((), ())
    assert of(event="Product Viewed").missing == ()


def test_every_part_of_a_message_is_named_as_the_plan_names_it() -> None:
    found = of(
        "identify", None, traits={"country": "Germany"}, context={"locale": "not a locale", "campaign": {"name": 7}}
    )
    assert found.mistyped == (
        Mistyped("context.locale", "vocabulary locale"),
        Mistyped("context.campaign.name", "vocabulary campaign"),
        Mistyped("traits.country", "vocabulary country"),
    )


def test_a_term_that_a_full_vocabulary_refused_is_named() -> None:
    found = of(properties={"revenue": 5, "currency": "EUR"})
    settled = seal_refused_terms(found, Terms({}, frozenset({Term("currency", "EUR")})), RULES)
    assert settled.mistyped == (Mistyped("currency", "vocabulary currency"), Mistyped("revenue", WITH_CURRENCY))
    assert settled.sealed["properties"] == {"currency": "EUR", "revenue": 5}
    assert settled.plain == {}


def test_an_amount_in_a_currency_that_cannot_be_read_is_not_one_without_a_currency() -> None:
    found = of(properties={"revenue": 5, "tax": 1, "items": 2, "currency": "eur"})
    assert found.plain == {"items": 2}
    assert found.sealed["properties"] == {"currency": "eur", "revenue": 5, "tax": 1}
    assert found.mistyped == (
        Mistyped("currency", "vocabulary currency"),
        Mistyped("revenue", WITH_CURRENCY),
        Mistyped("tax", WITH_CURRENCY),
    )
    assert of(properties={"revenue": 5, "currency": None}).plain == {"revenue": 5}
