"""Amounts of money need a currency that can be read, and the policy one in which they are added up."""

from typing import Any

import pytest

from cdp.kit.errors import Fault
from cdp.policy.load import build_policy
from tests.support.policies import changed, documents_of, shipped


def refuse(file: str, **sections: Any) -> str:
    """The detail of the fault that a change of the shipped policy ends with."""
    with pytest.raises(Fault) as fault:
        changed(shipped(), file, **sections)
    return fault.value.detail


def order(**plan: Any) -> dict[str, Any]:
    """The tracking plan's section in which the shipped order has one more property."""
    documents = documents_of(shipped())["events.yaml"]["events"]["Order Completed"]
    return {"Order Completed": documents | {"properties": {"paid": {"type": "number", "keep": "plain", **plan}}}}


def test_without_the_file_there_is_no_money() -> None:
    documents = documents_of(shipped())
    del documents["currencies.yaml"]
    with pytest.raises(Fault) as fault:
        build_policy(documents)
    assert (
        "is an amount of money, and no currency is named in which amounts are added up; write `currency: EUR`"
        in fault.value.detail
    )


def test_a_currency_is_named_by_a_plain_string_of_the_same_event() -> None:
    assert "unknown property of `Order Completed` with the currency, `curency`; did you mean `currency`?" in refuse(
        "events.yaml", events=order(currency="curency")
    )
    assert "`order_id` of `Order Completed` is not kept plain as a string of a vocabulary" in refuse(
        "events.yaml", events=order(currency="order_id")
    )
    assert "`currency` makes an amount of money of a number" in refuse(
        "events.yaml", events=order(currency="currency", keep="sealed")
    )


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"currency": "euro"}, "currency"),
        ({"rates": {"EUR": {"2026-01-01": 1.0}}}, "one unit of EUR is always worth 1"),
        ({"rates": {"USD": {}}}, "USD has no date with a rate"),
        ({"rates": {"USD": {"2026-13-01": 1.0}}}, "the name `2026-13-01` must be a date such as"),
        ({"rates": {"USD": {"2026-01-01": 0}}}, "greater than 0"),
        ({"currency": None}, "`unstated` and `rates` require `currency`"),
    ],
)
def test_rates_are_of_other_currencies_and_dated(sections: dict[str, Any], why: str) -> None:
    assert why in refuse("currencies.yaml", **sections)


def test_codes_are_terms_of_the_vocabulary() -> None:
    known = {"currency": {"values": ["EUR", "GBP"]}}
    assert "`USD` is not a term of the vocabulary `currency`, which has the currencies of amounts" in refuse(
        "events.yaml", vocabularies=known
    )


def test_a_computed_trait_names_a_currency_of_an_amount() -> None:
    trait = {
        "purpose": "analytics",
        "kind": "sum",
        "event": "Order Completed",
        "category": "user.behavior.purchase_history",
    }
    assert "`items` of `Order Completed` is not an amount of money" in refuse(
        "traits.yaml", traits={"pieces": {**trait, "property": "items", "currency": "EUR"}}
    )
    assert "`currency` is for amounts that are added up or compared, not for kind count" in refuse(
        "traits.yaml", traits={"orders": {**trait, "kind": "count", "currency": "EUR"}}
    )
    changed(shipped(), "traits.yaml", traits={"pounds": {**trait, "property": "revenue", "currency": "GBP"}})
